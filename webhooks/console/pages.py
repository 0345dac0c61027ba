"""The console's pages, by address. Each reads the ledger and renders one template; a stranger has to log in."""

from collections.abc import Callable, Mapping
from typing import Final

from flask import Blueprint, redirect, url_for
from flask.typing import ResponseReturnValue

from webhooks.console.audit import audit
from webhooks.console.case_page import case_page
from webhooks.console.cases import case_list
from webhooks.console.events import event_list, event_page, retry_event
from webhooks.console.given import take_in
from webhooks.console.incidents import incident_list, incident_page
from webhooks.console.overview import overview
from webhooks.console.parts import ask_of_part, part_list
from webhooks.console.quarantine import plan_anew, quarantine
from webhooks.console.rules import rule_list
from webhooks.console.session import require_login

blueprint = Blueprint("pages", __name__, url_prefix="/console", template_folder="templates")
assets = Blueprint("assets", __name__, url_prefix="/console", static_folder="static")
blueprint.before_request(require_login)

_PAGES: Final[Mapping[str, Callable[..., ResponseReturnValue]]] = {
    "/": overview,
    "/cases": case_list,
    "/cases/<path:case_id>": case_page,
    "/incidents": incident_list,
    "/incidents/<incident_id>": incident_page,
    "/quarantine": quarantine,
    "/events": event_list,
    "/events/<path:event_id>": event_page,
    "/rules": rule_list,
    "/audit": audit,
    "/parts": part_list,
}
for _address, _page in _PAGES.items():
    blueprint.add_url_rule(_address, view_func=_page)
blueprint.add_url_rule("/quarantine/plan-anew", view_func=plan_anew, methods=["POST"])
blueprint.add_url_rule("/parts", view_func=ask_of_part, methods=["POST"])
blueprint.add_url_rule("/events/take-in", view_func=take_in, methods=["POST"])
blueprint.add_url_rule("/events/<path:event_id>/retry", view_func=retry_event, methods=["POST"])


def front_door() -> ResponseReturnValue:
    """Lead from the root to the console."""
    return redirect(url_for("pages.overview"))
