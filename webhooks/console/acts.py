"""What the operator decides on a page: he asks, a worker shows what it would change, he approves, a worker does it.

The web knows neither Stripe nor the records: it writes down what is asked and approved, and shows what the workers
have answered. Pages that wait for them look again by themselves, without a script.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, abort, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user  # type: ignore[import-untyped]

from webhooks.console.session import require_login, require_role
from workers.kernel.errors import Conflict, InputUnusable, Transient
from workers.kernel.jobqueue import JobQueue
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.acts import Act, ActState
from workers.kernel.ledger.users import Role

blueprint = Blueprint("acts", __name__, url_prefix="/console/acts", template_folder="templates")
blueprint.before_request(require_login)


@dataclass(frozen=True)
class Offer:
    """An act that the page of a case offers: its kind, and what it asks for beside a reason.

    `arguments` makes the act's own of the case, the fields and which records are meant.
    """

    kind: str
    fields: tuple[str, ...]
    arguments: Callable[[str, dict[str, str], dict[str, Any]], dict[str, Any]]


def _of_case(case_id: str, fields: dict[str, str], chosen: dict[str, Any]) -> dict[str, Any]:
    return {"case_id": case_id, **fields, **chosen}


def _of_cases(case_id: str, fields: dict[str, str], chosen: dict[str, Any]) -> dict[str, Any]:
    return {"cases": [case_id], **fields, **chosen}


def _rule(kind: str) -> Callable[[str, dict[str, str], dict[str, Any]], dict[str, Any]]:
    return lambda _case_id, fields, _chosen: {"rule": kind, "key": fields["old"], "value": fields["new"]}


OFFERS: Final[Mapping[str, Offer]] = {
    "map_customer": Offer("make_rule", ("old", "new"), _rule("customer")),
    "map_meter": Offer("make_rule", ("old", "new"), _rule("meter")),
    "retry": Offer("retry", (), _of_cases),
    "release": Offer("release", (), _of_cases),
    "corrected": Offer("corrected", ("reference",), _of_case),
    "write_off": Offer("write_off", (), _of_case),
}
"""What a page offers, by the name of its form."""
_LENGTH: Final = 100
_LONGEST: Final = 2000
"""Characters of what somebody writes into a field."""


@blueprint.get("/")
def act_list() -> str:
    """List what people have decided, what waits for somebody first."""
    acts, waiting = _ledger().acts, (ActState.ASKED, ActState.SHOWN, ActState.APPROVED)
    return render_template(
        "console/acts.html", open_acts=acts.all(states=waiting, limit=_LENGTH), acts=acts.all(limit=_LENGTH)
    )


@blueprint.get("/<act_id>")
def act_page(act_id: str) -> str:
    """Show one act: what it would change, who has approved it, and what became of it."""
    act = _act(act_id)
    return _shown(act)


@blueprint.post("/case/<path:case_id>")
def ask(case_id: str) -> ResponseReturnValue:
    """Ask for an act on a case."""
    require_role(Role.OPERATOR)
    offer = OFFERS.get(request.form.get("kind", ""))
    if offer is None or _ledger().cases.get(case_id) is None:
        abort(404)
    why = _field("why")
    fields = {name: _field(name) for name in offer.fields}
    missing = [name for name, value in {"why": why, **fields}.items() if not value]
    if missing:
        return redirect(url_for("pages.case_page", case_id=case_id, missing=missing[0], _anchor="decide"))
    reason = _field("waiting_for")
    arguments = offer.arguments(case_id, fields, {"chosen": {"reason": reason}} if reason else {})
    act = _ledger().acts.ask(offer.kind, case_id, arguments, current_user.name, why)
    _hint(act)
    return redirect(url_for("acts.act_page", act_id=act.id))


@blueprint.post("/rule/<rule_id>/revert")
def revert_rule(rule_id: str) -> ResponseReturnValue:
    """Ask that a rule holds no longer."""
    require_role(Role.OPERATOR)
    try:
        _ledger().rules.get(rule_id)
    except InputUnusable:
        abort(404)
    why = _field("why")
    if not why:
        return redirect(url_for("pages.rule_list"))
    act = _ledger().acts.ask("revert_rule", rule_id, {"rule_id": rule_id}, current_user.name, why)
    _hint(act)
    return redirect(url_for("acts.act_page", act_id=act.id))


@blueprint.post("/<act_id>/approve")
def approve(act_id: str) -> ResponseReturnValue:
    """Approve what was shown; a worker carries it out."""
    require_role(Role.APPROVER)
    act = _act(act_id)
    if request.form.get("fingerprint") != act.fingerprint:
        return _refused(act, "It has been looked at anew since you saw it: this is what it would change now.")
    try:
        _hint(_ledger().acts.approve(act, current_user.name, current_app.config["APPROVALS"]))
    except (InputUnusable, Conflict) as error:
        return _refused(_act(act_id), str(error))
    return redirect(url_for("acts.act_page", act_id=act_id))


@blueprint.post("/<act_id>/withdraw")
def withdraw(act_id: str) -> ResponseReturnValue:
    """Let an act be that is not done."""
    require_role(Role.OPERATOR)
    act = _act(act_id)
    with suppress(Conflict):
        _ledger().acts.end(act, ActState.WITHDRAWN, {"by": current_user.name})
    return redirect(url_for("acts.act_page", act_id=act_id))


def _refused(act: Act, fault: str) -> ResponseReturnValue:
    return _shown(act, fault), 409


def _shown(act: Act, fault: str | None = None) -> str:
    return render_template(
        "console/act.html",
        act=act,
        needed=current_app.config["APPROVALS"],
        waits=_waits(act),
        fault=fault,
        may_approve=current_user.role.may(Role.APPROVER) and current_user.name not in act.approved_by,
    )


def _waits(act: Act) -> bool:
    """Whether a worker has to answer next."""
    return act.state in {ActState.ASKED, ActState.APPROVED}


def _act(act_id: str) -> Act:
    try:
        return _ledger().acts.get(act_id)
    except InputUnusable:
        abort(404)


def _field(name: str) -> str:
    return request.form.get(name, "").strip()[:_LONGEST]


def _hint(act: Act) -> None:
    """Tell a worker; where Redis is away, the clock finds the act."""
    queue: JobQueue = current_app.extensions["job_queue"]
    with suppress(Transient):
        queue.enqueue_act(act.id, len(act.approvals))


def _ledger() -> Ledger:
    ledger: Ledger = current_app.extensions["console"]
    return ledger
