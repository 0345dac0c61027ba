"""Which column of the sender is which column of ours: exact names first, synonyms where only one reading fits."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from workers.kernel.errors import FileForeign, FileUnusable
from workers.records.files.layout import MAX_KEYS, Finding
from workers.records.schema import (
    CUSTOMER,
    EVENT_NAME,
    IDENTIFIER,
    PAYLOAD_PREFIX,
    REQUIRED_COLUMNS,
    TEMPLATE_COLUMNS,
    TIMESTAMP,
    VALUE,
    carried_name,
    is_payload,
)

SYNONYMS: Final[Mapping[str, frozenset[str]]] = {
    IDENTIFIER: frozenset({"identifier", "event_identifier", "idempotency_key"}),
    TIMESTAMP: frozenset({"timestamp", "time_stamp", "event_timestamp", "event_time"}),
    EVENT_NAME: frozenset({"event_name", "eventname", "meter_event_name"}),
    CUSTOMER: frozenset({"payload_stripe_customer_id", "stripe_customer_id", "customer_id"}),
    VALUE: frozenset({"payload_value", "value"}),
}
"""Folded spellings per canonical column. `customer`, `id`, `time` and `quantity` have other readings: not here."""

PAYLOAD_PATH: Final = re.compile(r"payload(?:\.([^.\[\]]+)|\[([^.\[\]]+)\])")
CAMEL_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
FAILURE_WORD: Final = re.compile(r"(?i)(?:error|reason|message|failure|code|row|line)")
"""Words in the columns of a failed-records file, whose names Stripe does not document."""
TITLE: Final = re.compile(r"(?=[^\W_])[\w .()/#%&$\u20ac*+-]{0,63}[\w)%#$\u20ac*]")
"""What a column of a table is called; no line of a page, of an answer in JSON or of a sentence is."""
NOT_A_NAME: Final = re.compile(r"\s*(?:[-+]?\d[\d.,:TZ+-]*|(?:cus|acct)_\w+)?\s*")


def fold(header: str) -> str:
    """Return the spelling by which synonyms are compared: `Event Name`, `eventName` and `event-name` are one."""
    words = CAMEL_HUMP.sub("_", header.strip().strip('"\ufeff'))
    return re.sub(r"[\s._-]+", "_", words).lower()


def renames_for(headers: Sequence[str], declared: Mapping[str, str]) -> tuple[dict[str, str], list[Finding]]:
    """Return sender's header -> our column for each header that is renamed, and a finding per rename or doubt."""
    renames = {old: new for old, new in declared.items() if old in headers}
    findings = [Finding("header_declared", f"column {old!r} is read as {new!r}") for old, new in renames.items()]
    taken = set(headers) | set(renames.values())
    for column, candidates in _candidates([h for h in headers if h not in renames]).items():
        if column in taken:
            continue
        if len(candidates) == 1:
            renames[candidates[0]] = column
            findings.append(Finding("header_renamed", f"column {candidates[0]!r} is read as {column!r}"))
        else:
            names = ", ".join(repr(name) for name in candidates)
            findings.append(Finding("header_ambiguous", f"{names} could each be {column!r}; none is read as it"))
    return renames, findings


def _candidates(headers: Sequence[str]) -> dict[str, list[str]]:
    candidates: dict[str, list[str]] = {}
    for header in headers:
        column = _reading(header)
        if column is not None and column != header:
            candidates.setdefault(column, []).append(header)
    return candidates


def _reading(header: str) -> str | None:
    path = PAYLOAD_PATH.fullmatch(header.strip())
    if path:
        return PAYLOAD_PREFIX + (path[1] or path[2])
    folded = fold(header)
    return next((column for column, spellings in SYNONYMS.items() if folded in spellings), None)


def names_event(column: str) -> bool:
    """Tell whether the column names the event: what a usage record has, and hardly anything else."""
    return fold(column) in SYNONYMS[EVENT_NAME]


def frame_columns(headers: Sequence[str], renames: Mapping[str, str]) -> tuple[list[str], list[Finding]]:
    """Return the frame's column per header, each distinct: a repeated header gets `#2`, `#3`, an empty one `#1`.

    Where a time, an event name or a payload key stands in several columns, none is read as it: each gets a number.
    """
    names = [renames.get(header) or carried_name(header) for header in headers]
    counts = Counter(names)
    seen: Counter[str] = Counter()
    columns = []
    for name in names:
        seen[name] += 1
        plain = name and seen[name] == 1 and (counts[name] == 1 or not _decides(name))
        columns.append(name if plain else f"{name}#{seen[name]}")
    return columns, [_repeated(name, count) for name, count in sorted(counts.items()) if count > 1]


def _decides(name: str) -> bool:
    """Tell whether the column says what is billed, when, or to whom."""
    return name in (TIMESTAMP, EVENT_NAME) or is_payload(name)


def _repeated(name: str, count: int) -> Finding:
    unread = "; none is read as it" if _decides(name) else ""
    return Finding("header_repeated", f"column {name!r} occurs {count} times{unread}")


def missing_columns(columns: Sequence[str]) -> list[Finding]:
    """Return a finding per column that Stripe requires and the file lacks."""
    needed = [name for name in REQUIRED_COLUMNS if name != IDENTIFIER]
    return [Finding("header_missing", f"has no column {name!r}") for name in needed if name not in columns]


def require_few_columns(headers: Sequence[str], name: str) -> None:
    """Raise FileUnusable where the header has more columns than can be worked on."""
    if len(headers) > MAX_KEYS:
        raise FileUnusable(
            f"its header has {len(headers):,} columns; at most {MAX_KEYS} can be read",
            where=name,
            mend="leave out the columns that are no usage, or check the delimiter",
        )


def are_titles(headers: Sequence[str]) -> bool:
    """Tell whether these are the columns of a table, of whatever it may be."""
    return len(headers) > 1 and all(TITLE.fullmatch(header.strip()) for header in headers)


def require_header(headers: Sequence[str], name: str, *, has_rows: bool) -> None:
    """Raise FileUnusable where the first line is a record, or where no column of it has a meaning here.

    It is FileForeign for a table of something else only: a page or an error in a file's place shows nothing of it.
    """
    if any(_reading(header) or header.startswith(PAYLOAD_PREFIX) for header in headers):
        return
    mend = "add the header line of Stripe's template: " + ",".join(TEMPLATE_COLUMNS)
    if any(header.strip() and NOT_A_NAME.fullmatch(header) for header in headers):
        raise FileUnusable("its first line is a record, not a header", where=name, mend=mend)
    if not any(FAILURE_WORD.search(header) for header in headers):
        shown = ", ".join(repr(header[:30]) for header in headers[:4])
        error = FileForeign if has_rows and are_titles(headers) else FileUnusable
        raise error(f"none of its columns ({shown}) is one of Stripe's", where=name, mend=mend)


def known(headers: Sequence[str]) -> int:
    """Return how many of the headers have a meaning here; the delimiter that gives most is the file's."""
    return sum(bool(_reading(h) or h.startswith(PAYLOAD_PREFIX) or FAILURE_WORD.search(h)) for h in headers)
