"""Events that tell of a customer or a meter which records wait for: those are planned anew.

Sources: Stripe docs, "Types of events" (`customer.created`, `billing.meter.reactivated`) and stripe-python's
`V1BillingMeterReactivatedEvent`, which names the meter alone.
"""

from workers.kernel.awaited_names import CUSTOMER, METER
from workers.kernel.codes import EventType
from workers.kernel.event_envelope import NOT_AWAITED
from workers.kernel.ledger.events import StoredEvent
from workers.pipeline.context import Context, working_on
from workers.pipeline.intake.open_case import Taken
from workers.pipeline.upkeep.wake import reopen


def take_in(context: Context, event: StoredEvent) -> Taken:
    """Reopen what waits for the event's object, in each case of its account and mode.

    Raises Conflict while another worker holds one of the cases.
    """
    name = _name_of(context, event)
    case_ids = context.ledger.awaited.cases(name, event.account, livemode=event.livemode) if name else ()
    for case_id in case_ids:
        with working_on(context, case_id) as held:
            reopen(context, held, [one.name for one in held.awaited if one.name == name], event_id=event.id)
    return Taken(tuple(case_ids)) if case_ids else Taken(ignored=NOT_AWAITED)


def _name_of(context: Context, event: StoredEvent) -> str | None:
    """Return what records would wait for; None where nothing can."""
    if event.object_id is None:
        return None
    if event.type == EventType.CUSTOMER_CREATED:
        return CUSTOMER + event.object_id
    meter = context.stripe.fetch_meter(event.object_id, event.account) or {}
    return METER + str(meter["event_name"]) if meter.get("status") == "active" else None
