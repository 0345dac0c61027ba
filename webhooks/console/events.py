"""What Stripe has told, event by event, and taking one up again."""

from typing import Any, Final

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user  # type: ignore[import-untyped]

from webhooks.console import address
from webhooks.console.acts import field_of, hint
from webhooks.console.address import PAGE_LENGTH, SPANS, the_ledger
from webhooks.console.session import require_role
from workers.kernel.codes import FAILED_RECORDS_FILE, WORKED_ON, EventType
from workers.kernel.ledger.event_list import EventFilter
from workers.kernel.ledger.events import OPEN, EventState, Origin, StoredEvent
from workers.kernel.ledger.users import Role

_MOST_CASES: Final = 20
"""Cases of an event that are named by their title."""
_LONGEST: Final = 500


def event_list() -> str:
    """List events, those that have failed first, then the last received."""
    ledger = the_ledger()
    state = address.choice("state", EventState)
    wanted = EventFilter(address.text("type"), [state] if state else [], address.ago("since"))
    found = ledger.event_list.page(wanted, PAGE_LENGTH, address.place())
    return render_template(
        "console/events.html",
        events=found.rows,
        earlier=address.earlier(found.after),
        counts=ledger.queries.event_counts(),
        asked={name: address.text(name) or "" for name in ("type", "since")},
        chosen=address.chosen("type", "since"),
        state=state,
        states=list(EventState),
        types=[*EventType, FAILED_RECORDS_FILE],
        spans=list(SPANS),
        may_give=current_user.role.may(Role.OPERATOR),
        missing=request.args.get("missing"),
    )


def event_page(event_id: str) -> str:
    """Show one event as Stripe delivered it, as it was fetched, what it led to, and who has had it read again."""
    ledger = the_ledger()
    event = ledger.events.get(event_id) or abort(404)
    led_to = ledger.event_list.led_to(event_id)
    return render_template(
        "console/event.html",
        event=event,
        fetched=ledger.events.fetched(event_id),
        led_to=led_to,
        cases=ledger.case_list.of([one.case_id for one in led_to[:_MOST_CASES]]),
        acts=ledger.acts.all(subject=event_id),
        may_retry=may_be_retried(event) and current_user.role.may(Role.OPERATOR),
        missing=request.args.get("missing"),
        waits=event.origin is Origin.GIVEN and event.state in OPEN,
    )


def may_be_retried(event: StoredEvent) -> bool:
    """Whether an event has ended and could say something else when it is read again."""
    return event.type in WORKED_ON and event.state not in OPEN


def retry_event(event_id: str) -> ResponseReturnValue:
    """Have a worker take an event up again. What it has brought into a journal already is not counted twice.

    So it waits for nobody's approval; it is booked as an act all the same.
    """
    require_role(Role.OPERATOR)
    event = the_ledger().events.get(event_id) or abort(404)
    if not may_be_retried(event):
        abort(409)
    why = field_of("why")[:_LONGEST]
    if not why:
        return redirect(url_for("pages.event_page", event_id=event_id, missing="why"))
    arguments = {"cases": [], "events": [event_id]}
    act = the_ledger().acts.order("retry", event_id, arguments, current_user.name, why, _effect(event))
    hint(act)
    return redirect(url_for("acts.act_page", act_id=act.id))


def _effect(event: StoredEvent) -> dict[str, Any]:
    """Return what is shown of the act, as a worker would: an event is read, and no record moves by that alone."""
    said = {"summary": f"{event.id} is retried", "records": 0}
    return {**said, "quantities": {}, "cases": {}, "examples": [], "warnings": [], "basis": ""}
