"""The page of one case: what happened to whom, what to do about it, and how it came to this."""

from collections.abc import Iterator, Sequence

from flask import abort, render_template, request
from flask_login import current_user  # type: ignore[import-untyped]

from webhooks.console.address import the_ledger
from webhooks.console.files import evidence_of
from webhooks.console.offers import Standing, fitting
from workers.kernel.advice import commands, is_in_a_part, is_only_counted, next_step, reasons_of
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.rules import MadeRule
from workers.kernel.ledger.unconfirmed import unconfirmed
from workers.kernel.ledger.users import Role
from workers.kernel.timeline import timeline


def case_page(case_id: str) -> str:
    """Show one case as `metermend case show` does, with its files and the acts that fit it."""
    ledger = the_ledger()
    case = ledger.cases.get(case_id) or abort(404)
    entries = ledger.queries.entries(case_id)
    overdue, only_counted = unconfirmed(entries), is_only_counted(case, entries)
    reasons, submissions = reasons_of(entries), ledger.submissions.of_case(case_id)
    return render_template(
        "console/case.html",
        case=case,
        advice=next_step(case, overdue, only_counted=only_counted, in_a_part=is_in_a_part(submissions)),
        commands=list(commands(case, entries, overdue)),
        unconfirmed=overdue,
        reasons=reasons,
        examples=ledger.examples.of(case_id),
        timeline=list(timeline(entries)),
        entries=entries,
        submissions=submissions,
        acts=ledger.acts.all(subject=case_id),
        rules=list(_rules_of(ledger, entries)),
        events=list(dict.fromkeys(entry.event_id for entry in entries if entry.event_id)),
        evidence=evidence_of(entries),
        offers=fitting(Standing(case, reasons, overdue, only_counted)),
        has_rows=not only_counted,
        opened=request.args.get("act"),
        missing=request.args.get("missing"),
        may_ask=current_user.role.may(Role.OPERATOR),
    )


def _rules_of(ledger: Ledger, entries: Sequence[EntryRow]) -> Iterator[MadeRule]:
    """Yield the rules in force by which records of a case were planned anew."""
    acts = {entry.detail.get("act") for entry in entries}
    yield from (rule for rule in ledger.rules.in_force() if rule.act_id in acts)
