"""From an event to its cases: finds the records that Stripe refused, and opens or continues their case.

Each type of event has one way in; a type that is not in `INTAKE` is not ours to work on. Imports `submit` and what
lies below it. Start with `import_set` (files) or `error_report` (counts and samples); both end in `open_case`.
`given_file` takes in a failed-records file that a person gives.
`arrival` reopens what has waited for a customer or a meter.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from workers.kernel.codes import FAILED_RECORDS_FILE, EventType
from workers.kernel.event_envelope import IRRELEVANT_TYPE, LIVEMODE_MISMATCH
from workers.kernel.ledger.events import StoredEvent
from workers.pipeline.context import Context
from workers.pipeline.intake import arrival, error_report, given_file, import_set
from workers.pipeline.intake.open_case import Taken
from workers.pipeline.livemode import is_foreign, mode_of

INTAKE: Final[Mapping[str, Callable[[Context, StoredEvent], Taken]]] = {
    EventType.IMPORT_SET_FAILED: import_set.take_in,
    EventType.IMPORT_SET_SUCCEEDED: import_set.take_in,
    EventType.ERROR_REPORT_TRIGGERED: error_report.take_in,
    EventType.NO_METER_FOUND: error_report.take_in,
    EventType.METER_REACTIVATED: arrival.take_in,
    EventType.METER_REACTIVATED_SNAPSHOT: arrival.take_in,
    EventType.CUSTOMER_CREATED: arrival.take_in,
    FAILED_RECORDS_FILE: given_file.take_in,
}


def take_in(context: Context, event: StoredEvent) -> Taken:
    """Find the refused records behind an event and write them into the journal of their cases.

    An event of the other mode, which a web without a key may have stored, is none of ours. One that names our own
    account is worked on as any other of ours: cases and submissions know our account as None.

    Calling it again for the same event, or for another event about the same failure, adds nothing. Raises Transient
    and Permanent as Stripe, the sources and the archive do.
    """
    if event.type not in INTAKE:
        return Taken(ignored=IRRELEVANT_TYPE)
    livemode = mode_of(context, event)
    if is_foreign(context, livemode=livemode):
        return Taken(ignored=LIVEMODE_MISMATCH)
    ours = event.account is not None and event.account == context.stripe.own_account()
    known = replace(event, livemode=livemode, account=None if ours else event.account)
    return INTAKE[event.type](context, known)
