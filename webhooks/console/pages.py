"""The console's pages. Each reads the ledger and renders one template; a stranger is sent to the login."""

from datetime import datetime

from flask import Blueprint, abort, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from webhooks.console.case_page import case_page
from webhooks.console.session import require_login
from workers.kernel.clock import from_text
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.case import CaseState

PAGE_LENGTH = 50

blueprint = Blueprint("pages", __name__, url_prefix="/console", template_folder="templates")
assets = Blueprint("assets", __name__, url_prefix="/console", static_folder="static")
blueprint.before_request(require_login)


def front_door() -> ResponseReturnValue:
    """Lead from the root to the console."""
    return redirect(url_for("pages.overview"))


@blueprint.get("/")
def overview() -> str:
    """Show the equation, the cases that need a person, and what is in work."""
    queries, totals = _ledger().queries, _ledger().totals.of_all()
    stuck = queries.stuck_cases(PAGE_LENGTH)
    needy = queries.cases(states=[CaseState.NEEDS_PERSON], limit=PAGE_LENGTH)
    shown = {case.id for case in (*stuck, *needy)}
    return render_template(
        "console/overview.html",
        balance=totals.balance,
        stuck=stuck,
        needy=[case for case in needy if case.id not in {each.id for each in stuck}],
        recent=[case for case in queries.cases(limit=PAGE_LENGTH) if case.id not in shown][:10],
        case_counts=totals.states,
        event_counts=queries.event_counts(),
        waited=queries.oldest_unprocessed(),
    )


@blueprint.get("/cases")
def case_list() -> str:
    """List cases, the last changed first, of one state or of all."""
    state, before = _state(request.args.get("state")), _moment(request.args.get("before"))
    queries = _ledger().queries
    found = queries.cases(states=[state] if state else [], limit=PAGE_LENGTH, before=before)
    return render_template(
        "console/cases.html",
        cases=found,
        state=state,
        states=list(CaseState),
        counts=queries.case_counts(),
        more=found[-1].changed_at.isoformat() if len(found) == PAGE_LENGTH else None,
    )


blueprint.add_url_rule("/cases/<path:case_id>", view_func=case_page)


@blueprint.get("/events/<path:event_id>")
def event_page(event_id: str) -> str:
    """Show one event as Stripe delivered it, as it was fetched, and the cases that it led to."""
    event = _ledger().events.get(event_id) or abort(404)
    return render_template(
        "console/event.html",
        event=event,
        fetched=_ledger().events.fetched(event_id),
        led_to=_ledger().event_list.led_to(event_id),
    )


def _ledger() -> Ledger:
    ledger: Ledger = current_app.extensions["console"]
    return ledger


def _state(text: str | None) -> CaseState | None:
    return CaseState(text) if text in set(CaseState) else None


def _moment(text: str | None) -> datetime | None:
    try:
        return from_text(text) if text else None
    except ValueError:
        return None
