"""The hash chain over a case's entries: each entry's hash covers its fields and the hash before it.

The chain over all cases is `links.py`'s.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

from workers.kernel.clock import to_text
from workers.kernel.ledger.journal import EntryKind

COVERED = (
    "case_id", "number", "kind", "from_bucket", "to_bucket", "records", "quantity", "revision", "record_set",
    "record_set_sha256", "submission_id", "event_id", "actor", "detail", "at", "previous",
)  # fmt: skip

ENTRIES: Final = "entries"
"""Key in the detail of an entry that says what was erased: entry number -> digest of what is left of the entry."""
GENESIS: Final = "genesis"
"""Likewise: the hash before the case's first entry, where the case's key had to go too."""


def genesis(case_key: str) -> str:
    """Return the hash that stands before a case's first entry."""
    return sha256(f"metermend case {case_key}".encode()).hexdigest()


def entry_hash(row: Mapping[str, Any]) -> str:
    """Return the hex hash of one entry; `row` has the columns of the entries table."""
    return digest({name: row[name] for name in COVERED})


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as the JSON that is hashed: times as RFC 3339 text, quantities as decimal text."""
    return {name: plain_value(value) for name, value in values.items()}


def digest(values: Mapping[str, Any]) -> str:
    """Return the hex sha256 of values as JSON with sorted keys and no blanks."""
    text = json.dumps(plain(values), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()


def plain_value(value: Any) -> Any:
    """Return one value as the JSON that is hashed."""
    if isinstance(value, datetime):
        return to_text(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    return list(value) if isinstance(value, tuple) else value


def erased_digests(rows: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Return what the journal says of entries that a customer was erased from: number -> digest of what is left."""
    told: dict[int, str] = {}
    for row in rows:
        if row["kind"] == EntryKind.ERASED:
            told |= {int(number): digest for number, digest in row["detail"].get(ENTRIES, {}).items()}
    return told


def first_break(case_key: str, head: str, rows: Sequence[Mapping[str, Any]]) -> tuple[int, str] | None:
    """Walk a case's entries in order; return (number, what is wrong) of the first that does not hold, or None.

    An entry keeps its hash when a customer is erased from it, so that the chain leads on as it did. What is left of
    it must have the digest that a later entry of the chain says, and no other.
    """
    left = erased_digests(rows)
    said = (row["detail"].get(GENESIS) for row in rows if row["kind"] == EntryKind.ERASED)
    expected = next(filter(None, said), genesis(case_key))
    number = 0
    for number, row in enumerate(rows, start=1):
        if row["number"] != number:
            return number, f"entry {number} is missing"
        if row["previous"] != expected or entry_hash(row) != left.get(number, row["hash"]):
            return number, f"entry {number} was altered"
        expected = row["hash"]
    return None if expected == head else (number, f"entries after {number} are missing")
