"""What is said of an incident: of a single case all there is to know, of many what they add up to."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from workers.alerts import CodeCount, Notice, ReasonCount
from workers.kernel.ledger.appraisal import why_lost
from workers.kernel.ledger.by_code import ByCode, decided, merged
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.case_list import CaseFilter, CaseOrder
from workers.kernel.ledger.incidents import Incident
from workers.kernel.ledger.journal import Balance, Bucket, Tally
from workers.pipeline.context import Context
from workers.pipeline.notify.case_status import CaseStatus
from workers.pipeline.notify.cause import pattern_of
from workers.pipeline.notify.incident_about import about_of
from workers.pipeline.notify.incident_step import next_step

_NEAREST: Final = 100
"""Cases among which the nearest deadline to come is looked for: beyond them the first of all is told."""
REPAIRED: Final = (Bucket.PLANNED, Bucket.SUBMITTED, Bucket.CONFIRMED)
_WORDS: Final = (
    (Bucket.CONFIRMED, "recovered"),
    (Bucket.SUBMITTED, "resubmitted"),
    (Bucket.PLANNED, "repaired"),
    (Bucket.DEFERRED, "deferred"),
    (Bucket.QUARANTINED, "need a person"),
)


def notice_of(context: Context, incident: Incident, statuses: Sequence[CaseStatus], *, over: bool) -> Notice:
    """Return what an incident is whose cases stand like this; `in_full` adds what is looked up for it."""
    oldest = min((status.oldest for status in statuses if status.oldest), default=None)
    only = statuses[0] if len(statuses) == 1 else None
    headline = headline_of(statuses)
    return Notice(
        subject=only.case_id if only else incident.id,
        headline=f"Over: {headline}" if over else headline,
        livemode=incident.livemode,
        account=incident.account,
        cases=len(statuses),
        codes=list(_codes(merged(status.by_code for status in statuses))),
        reasons=_reasons(statuses),
        oldest_usage=oldest,
        next_step=next_step(context, incident, statuses),
        files=only.files if only else {},
    )


def in_full(context: Context, incident: Incident, notice: Notice) -> Notice:
    """Return a notice with whom it is about, what that is worth, and by when it is lost."""
    first = _first_lost(context, incident)
    return replace(notice, about=about_of(context, incident), **(lost_of(first) if first else {}))


def _first_lost(context: Context, incident: Incident) -> Case | None:
    """Return the case of the nearest deadline: of those that are to come, where any is."""
    nearest = context.ledger.case_list.find(CaseFilter(incident=incident.id), CaseOrder.DEADLINE, _NEAREST)
    to_come = (case for case in nearest if case.deadline and case.deadline > context.clock())
    return next(to_come, nearest[0] if nearest else None)


def lost_of(case: Case) -> dict[str, Any]:
    """Return by when, and why, the open usage of a case is lost, as a Notice says it."""
    return {"deadline": case.deadline, "lost_by": why_lost(case)} if case.deadline else {}


def headline_of(statuses: Sequence[CaseStatus]) -> str:
    """Return an incident in one line: what failed, and how it stands."""
    balance = _balance(statuses)
    overdue = sum(status.unconfirmed for status in statuses)
    counts = {word: balance[bucket].records for bucket, word in _WORDS}
    counts = {**counts, "resubmitted": counts["resubmitted"] - overdue, "unconfirmed": overdue}
    parts = [f"{records:,} {_of(records, word)}" for word, records in counts.items() if records]
    decided_so_far = ", ".join(parts) or "nothing decided yet"
    if len(statuses) == 1 and statuses[0].title:
        return f"{statuses[0].title}: {decided_so_far}"
    stands = f"{balance.failed.records:,} refused, {decided_so_far}"
    if len(statuses) == 1:
        return f"{statuses[0].summary}: {stands}"
    summaries = {status.summary for status in statuses}
    what = summaries.pop() if len(summaries) == 1 else pattern_of(min(summaries))
    return f"{what}: {len(statuses):,} cases, {stands}"


def _of(records: int, word: str) -> str:
    return word.replace("need ", "needs ") if records == 1 else word


def _balance(statuses: Sequence[CaseStatus]) -> Balance:
    return sum((status.balance for status in statuses), Balance())


def _codes(breakdown: ByCode) -> Iterator[CodeCount]:
    for code, buckets in sorted(breakdown.items()):
        yield CodeCount(
            code,
            refused=decided(buckets),
            repaired=sum((buckets.get(bucket, Tally()) for bucket in REPAIRED), Tally()),
            confirmed=buckets.get(Bucket.CONFIRMED, Tally()),
            deferred=buckets.get(Bucket.DEFERRED, Tally()),
            quarantined=buckets.get(Bucket.QUARANTINED, Tally()),
        )


def _reasons(statuses: Sequence[CaseStatus]) -> Sequence[ReasonCount]:
    """Return why records wait, over all cases. Advice that differs is about single rows, and is left out."""
    counts: Counter[tuple[str, str]] = Counter()
    advice: defaultdict[tuple[str, str], set[str | None]] = defaultdict(set)
    for one in (reason for status in statuses for reason in status.reasons):
        counts[one.code, one.reason] += one.records
        advice[one.code, one.reason].add(one.suggestion)
    shared = {key: next(iter(given)) for key, given in advice.items() if len(given) == 1}
    return [ReasonCount(*key, records, shared.get(key)) for key, records in counts.most_common()]
