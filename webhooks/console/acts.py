"""What the operator decides on a page: he asks, a worker shows what it would change, he approves, a worker does it.

The web knows neither Stripe nor the records: it writes down what is asked and approved, and shows what the workers
have answered. Pages that wait for them look again by themselves, without a script.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from flask import Blueprint, abort, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user  # type: ignore[import-untyped]

from webhooks.console.address import the_ledger
from webhooks.console.files import keep_upload
from webhooks.console.offers import OFFERS, Field
from webhooks.console.session import require_login, require_role
from workers.kernel.errors import Conflict, InputUnusable, MetermendError, Transient
from workers.kernel.jobqueue import JobQueue
from workers.kernel.ledger.acts import CSV, OF_PARTS, Act, ActState
from workers.kernel.ledger.users import Role

blueprint = Blueprint("acts", __name__, url_prefix="/console/acts", template_folder="templates")
blueprint.before_request(require_login)


_LENGTH: Final = 100
_LONGEST: Final = 2000
"""Characters of what somebody writes into a field."""


@blueprint.get("/")
def act_list() -> str:
    """List what people have decided, what waits for somebody first."""
    acts, waiting = the_ledger().acts, (ActState.ASKED, ActState.SHOWN, ActState.APPROVED)
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
    form = request.form.get("kind", "")
    offer = OFFERS.get(form)
    _require_case(case_id)
    if offer is None:
        abort(404)
    fields = {field.name: field_of(field.name) for field in offer.fields}
    missing = [field.label for field in offer.fields if not _is_given(field, fields[field.name])]
    if missing or not field_of("why"):
        return _incomplete(case_id, form, [*missing, "why"][0])
    reason = field_of("waiting_for") if offer.chooses else ""
    return asked(
        offer.kind, case_id, offer.arguments(case_id, fields, {"chosen": {"reason": reason}} if reason else {})
    )


@blueprint.post("/file/<path:case_id>")
def ask_by_file(case_id: str) -> ResponseReturnValue:
    """Ask for what was edited in a CSV, which is kept; a worker reads it."""
    _require_case(case_id)
    file = request.files.get("file")
    if file is None or not file.filename or not field_of("why"):
        return _incomplete(case_id, "fix_by_file", "file" if field_of("why") else "why")
    try:
        kept = keep_upload(case_id, "edited", file)
    except MetermendError as error:
        return render_template("console/error.html", title="The file cannot be kept", advice=str(error)), 503
    return asked("fix_by_file", case_id, {"case_id": case_id, "file": kept})


@blueprint.post("/csv/<path:case_id>")
def ask_for_csv(case_id: str) -> ResponseReturnValue:
    """Have a worker write the quarantine of a case, or what was sent in a submission, as CSV."""
    _require_case(case_id)
    submission = field_of("submission")
    arguments = {"case_id": case_id, **({"submission": submission} if submission else {})}
    return asked(CSV, case_id, arguments, why="to be read")


@blueprint.post("/<act_id>/take-back")
def ask_to_take_back(act_id: str) -> ResponseReturnValue:
    """Ask for an act to be undone; what would wait again is shown first."""
    require_role(Role.OPERATOR)
    act = _act(act_id)
    if act.state is not ActState.DONE:
        return _refused(act, "It is not done any more, so there is nothing to take back.")
    if not field_of("why"):
        return _refused(act, "Nothing was asked for: say why.")
    return asked("take_back", act.subject, {"act_id": act.id})


@blueprint.post("/rule/<rule_id>/revert")
def revert_rule(rule_id: str) -> ResponseReturnValue:
    """Ask that a rule holds no longer."""
    require_role(Role.OPERATOR)
    try:
        the_ledger().rules.get(rule_id)
    except InputUnusable:
        abort(404)
    if not field_of("why"):
        return redirect(url_for("pages.rule_list"))
    return asked("revert_rule", rule_id, {"rule_id": rule_id})


@blueprint.post("/<act_id>/approve")
def approve(act_id: str) -> ResponseReturnValue:
    """Approve what was shown; a worker carries it out."""
    require_role(Role.APPROVER)
    act = _act(act_id)
    if request.form.get("fingerprint") != act.fingerprint:
        return _refused(act, "It has been looked at anew since you saw it: this is what it would change now.")
    try:
        hint(the_ledger().acts.approve(act, current_user.name, current_app.config["APPROVALS"]))
    except (InputUnusable, Conflict) as error:
        return _refused(_act(act_id), str(error))
    return redirect(url_for("acts.act_page", act_id=act_id))


@blueprint.post("/<act_id>/withdraw")
def withdraw(act_id: str) -> ResponseReturnValue:
    """Let an act be that is not approved yet."""
    require_role(Role.OPERATOR)
    act = _act(act_id)
    with suppress(Conflict):
        the_ledger().acts.end(act, ActState.WITHDRAWN, {"by": current_user.name})
    return redirect(url_for("acts.act_page", act_id=act_id))


def _require_case(case_id: str) -> None:
    """Answer 403 to whoever may not ask, 404 where there is no such case."""
    require_role(Role.OPERATOR)
    if the_ledger().cases.get(case_id) is None:
        abort(404)


def _is_given(field: Field, text: str) -> bool:
    return text in field.choices if field.choices else bool(text) or field.is_optional


def _incomplete(case_id: str, form: str, missing: str) -> ResponseReturnValue:
    """Lead back to the form that something is missing in."""
    return redirect(url_for("pages.case_page", case_id=case_id, act=form, missing=missing, _anchor="decide"))


def asked(kind: str, subject: str | None, arguments: Mapping[str, Any], why: str = "") -> ResponseReturnValue:
    """Write down what is asked for, and lead to the page that shows what it would change."""
    act = the_ledger().acts.ask(kind, subject, arguments, current_user.name, why or field_of("why"))
    hint(act)
    return redirect(url_for("acts.act_page", act_id=act.id))


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
        may_ask=current_user.role.may(Role.OPERATOR),
        is_csv=act.kind == CSV,
        is_of_part=act.kind in OF_PARTS,
    )


def _waits(act: Act) -> bool:
    """Whether a worker has to answer next."""
    return act.state in {ActState.ASKED, ActState.APPROVED}


def _act(act_id: str) -> Act:
    try:
        return the_ledger().acts.get(act_id)
    except InputUnusable:
        abort(404)


def field_of(name: str) -> str:
    """Return what is written into a field of the form."""
    return request.form.get(name, "").strip()[:_LONGEST]


def hint(act: Act) -> None:
    """Tell a worker; where Redis is away, the clock finds the act."""
    queue: JobQueue = current_app.extensions["job_queue"]
    with suppress(Transient):
        queue.enqueue_act(act.id, len(act.approvals))
