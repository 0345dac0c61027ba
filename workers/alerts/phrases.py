"""The sentences of an alert, the same in Slack and on a terminal; plain text without any markup.

What is shown is bounded, and what is left out is counted: a reader may miss a name, never a record.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from workers.alerts.messages import Alert, CodeCount, Digest, Notice, ReasonCount, Trouble
from workers.kernel.ledger.journal import NOT_KNOWN, Tally
from workers.kernel.reasons import step_of
from workers.kernel.terminal import visible

MAX_CODES: Final = 12
MAX_REASONS: Final = 6
MAX_FILES: Final = 6
LONGEST: Final = 300
"""Characters of any one sentence or place that somebody else wrote."""
LONGEST_NAME: Final = 100
LONGEST_DETAIL: Final = 600

_TALLIES: Final = ("refused", "repaired", "confirmed", "deferred", "quarantined")


def origin(alert: Alert) -> str:
    """Return what it is about, whose it is, and whether the money is real."""
    if isinstance(alert, Digest):
        return alert.about
    mode = {True: "LIVE", False: "test mode", None: ""}[alert.livemode]
    return " · ".join(cut(part, LONGEST_NAME) for part in (alert.subject, alert.account or "", mode) if part)


def totals(notice: Notice) -> str:
    """Return the counts over all cases and codes; nothing where they are those of one case's one code."""
    if notice.cases > 1:
        return f"{notice.cases:,} cases of one cause: {_counts(_sum(notice.codes))}"
    return _counts(_sum(notice.codes)) if len(notice.codes) > 1 else ""


def detail(trouble: Trouble) -> str:
    """Return what happened, and how often it did to others."""
    alike = f" And {trouble.alike:,} more alike." if trouble.alike else ""
    return f"{cut(trouble.detail, LONGEST_DETAIL)}{alike}"


def codes(notice: Notice) -> Iterator[tuple[str, str]]:
    """Yield each code and what became of its records, the largest first; the last sums up what is not shown."""
    ordered = sorted(notice.codes, key=lambda count: count.refused.records, reverse=True)
    shown, rest = ordered[:MAX_CODES], ordered[MAX_CODES:]
    for count in shown:
        yield cut(count.code, LONGEST_NAME), _counts(count)
    if rest:
        yield f"{len(rest)} more codes", _counts(_sum(rest))


def reasons(notice: Notice) -> Iterator[str]:
    """Yield why records wait for a person, the most frequent first, and how many more there are."""
    ordered = sorted(notice.reasons, key=lambda reason: reason.records, reverse=True)
    shown, rest = ordered[:MAX_REASONS], ordered[MAX_REASONS:]
    for reason in shown:
        yield _reason(reason)
    if rest:
        yield f"{sum(reason.records for reason in rest):,} for {len(rest)} more reasons"


def urgency(notice: Notice) -> str:
    """Return by when the oldest open record must be settled."""
    parts = []
    if notice.oldest_usage:
        parts.append(f"Oldest open usage: {moment(notice.oldest_usage)}.")
    if notice.deadline:
        parts.append(f"Lost by {moment(notice.deadline)}: {notice.lost_by}.")
    return " ".join(parts)


def about(alert: Notice | Trouble) -> Iterator[str]:
    """Yield whom and what it is about, a line for each."""
    yield from (f"{cut(label, LONGEST_NAME)}: {cut(what)}" for label, what in alert.about.items())


def files(notice: Notice) -> Iterator[tuple[str, str]]:
    """Yield where the records lie, and how many more places there are."""
    places = [(cut(label, LONGEST_NAME), cut(place)) for label, place in notice.files.items()]
    yield from places[:MAX_FILES]
    if places[MAX_FILES:]:
        yield "and", f"{len(places) - MAX_FILES} more files, see the case"


def moment(time: datetime) -> str:
    """Return a time in words, in UTC."""
    return f"{time:%a} {time.day} {time:%b %Y %H:%M} UTC"


def cut(text: str, limit: int = LONGEST) -> str:
    """Return foreign text on one line, no longer than `limit`, with nothing in it that a terminal would obey."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _reason(reason: ReasonCount) -> str:
    step = reason.suggestion or step_of(reason.reason)
    why = cut(reason.reason.replace("_", " "), LONGEST_NAME)
    return f"{reason.records:,}: {why} ({cut(reason.code, LONGEST_NAME)}).{f' {cut(step)}' if step else ''}"


def _counts(count: CodeCount) -> str:
    return f"{_tally(count.refused)} refused: {', '.join(_stages(count)) or 'not decided yet'}"


def _stages(count: CodeCount) -> Iterator[str]:
    all_confirmed = count.repaired.records == count.confirmed.records
    if count.repaired.records:
        yield f"{_tally(count.repaired)} repaired{' and confirmed' if all_confirmed else ''}"
    if count.confirmed.records and not all_confirmed:
        yield f"{_tally(count.confirmed)} of them confirmed"
    if count.deferred.records:
        yield f"{_tally(count.deferred)} deferred"
    if count.quarantined.records:
        yield f"{_tally(count.quarantined)} for you"


def _tally(tally: Tally) -> str:
    return f"{tally.records:,} ({'' if tally.shown == NOT_KNOWN else 'readable '}quantity {tally.shown})"


def _sum(counts: Sequence[CodeCount]) -> CodeCount:
    return CodeCount("", *(sum((getattr(count, name) for count in counts), Tally()) for name in _TALLIES))
