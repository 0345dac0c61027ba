"""A case as a person is shown it, in the terminal and by `--json`: gathered once, so that both say the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from workers.kernel.advice import commands, is_in_a_part, is_only_counted, next_step, reasons_of
from workers.kernel.case_title import since, title_of
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.acts import Act
from workers.kernel.ledger.appraisal import at_risk, with_deadline
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.case_facts import ByMeter
from workers.kernel.ledger.case_transaction import EVIDENCE
from workers.kernel.ledger.examples import Examples
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.submissions import Submission
from workers.kernel.ledger.unconfirmed import unconfirmed
from workers.kernel.money import Money
from workers.kernel.reasons import Reason
from workers.kernel.timeline import Happening, timeline
from workers.pipeline.case_facts import by_meter, deadline_of
from workers.pipeline.context import Stores
from workers.remedies.codes import reasons


@dataclass(frozen=True)
class CaseView:
    """All that is shown of a case.

    `case` has its deadline as of now. `at_risk` is what its open usage is worth, `lacks` why that or an invoice is
    not known. `events` are those that it came from. `files` is label -> place. `note` says what could not be read.
    """

    case: Case
    title: str
    since: datetime
    at_risk: Money
    lacks: Sequence[str]
    by_meter: ByMeter
    unconfirmed: int
    reasons: Mapping[str, tuple[int, Reason]]
    examples: Examples
    timeline: Sequence[Happening]
    acts: Sequence[Act]
    events: Sequence[str]
    files: Mapping[str, str]
    next_step: str
    commands: Sequence[tuple[str, str]]
    note: str | None


def view_of(stores: Stores, case_id: str, now: datetime) -> CaseView:
    """Return what is shown of a case. Raises InputUnusable where there is none, else as the archive does."""
    case = stores.ledger.cases.get(case_id)
    if case is None:
        raise InputUnusable("there is no such case", where=case_id, mend="`metermend cases` lists them")
    journal = stores.ledger.queries.entries(case_id)
    removed = max((entry.number for entry in journal if entry.kind == EntryKind.REMOVED), default=0)
    there = [entry for entry in journal if entry.number > removed]
    overdue = unconfirmed(journal)
    submissions = stores.ledger.submissions.of_case(case_id)
    return CaseView(
        case=with_deadline(case, deadline_of(stores, there, now)),
        title=title_of(case, now),
        since=since(case),
        at_risk=at_risk(case),
        lacks=case.lacks or [],
        by_meter=by_meter(stores, case, journal),
        unconfirmed=overdue,
        reasons=reasons_of(journal, reasons()),
        examples=stores.ledger.examples.of(case_id),
        timeline=list(timeline(journal)),
        acts=stores.ledger.acts.all(subject=case_id),
        events=list(dict.fromkeys(entry.event_id for entry in journal if entry.event_id)),
        files=_files(submissions, there),
        next_step=next_step(
            case, overdue, only_counted=is_only_counted(case, journal), in_a_part=is_in_a_part(submissions)
        ),
        commands=list(commands(case, journal, overdue)),
        note="Its files were removed after their time; the journal stays." if removed else None,
    )


def _files(submissions: Sequence[Submission], journal: Sequence[EntryRow]) -> dict[str, str]:
    """Return label -> place of what was sent, and of what shows why entries were made."""
    sent = {f"sent {one.id}": one.location for one in submissions if one.location}
    names = (name for entry in journal for name in entry.detail.get(EVIDENCE, {}))
    evidence = {f"shown by {n}": name for n, name in enumerate(dict.fromkeys(names), 1)}
    return {**sent, **evidence}
