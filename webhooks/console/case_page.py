"""The page of one case: what happened to whom, what to do about it, and how it came to this."""

from flask import abort, current_app, render_template, request
from flask_login import current_user  # type: ignore[import-untyped]

from workers.kernel.advice import is_only_counted, next_step, reasons_of
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.unconfirmed import unconfirmed
from workers.kernel.ledger.users import Role


def case_page(case_id: str) -> str:
    """Show one case: what to do, why records wait, what happened, and its journal."""
    ledger: Ledger = current_app.extensions["console"]
    case = ledger.cases.get(case_id) or abort(404)
    entries = ledger.queries.entries(case_id)
    overdue = unconfirmed(entries)
    return render_template(
        "console/case.html",
        case=case,
        advice=next_step(case, overdue, only_counted=is_only_counted(case, entries)),
        unconfirmed=overdue,
        reasons=reasons_of(entries),
        entries=entries,
        submissions=ledger.submissions.of_case(case_id),
        acts=ledger.acts.all(subject=case_id),
        missing=request.args.get("missing"),
        may_ask=current_user.role.may(Role.OPERATOR),
    )
