"""Records that Stripe counts as refused but whose rows nobody has shown: the journal counts them, by reason."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from workers.kernel.ledger.by_code import BY_CODE, detail_of
from workers.kernel.ledger.case import Failure
from workers.kernel.ledger.journal import Bucket, EntryKind, Movement, Tally
from workers.kernel.ledger.queries import EntryRow

UNLOCATED: Final = "unlocated"
"""Our own word for the code of records whose rows, and with them Stripe's code, nobody has shown."""
_NAMED: Final = "named"


@dataclass(frozen=True)
class Unlocated:
    """Records whose rows were not found: how many by reason, advice, and the identifiers that Stripe names."""

    counts: Mapping[str, int] = field(default_factory=dict)
    suggestions: Mapping[str, str] = field(default_factory=dict)
    named: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def records(self) -> int:
        return sum(self.counts.values())

    @property
    def unnamed(self) -> Counter[str]:
        """How many of them Stripe does not name, by reason."""
        return Counter(self.counts) - Counter({reason: len(names) for reason, names in self.named.items()})


def counted_moves(
    failure: Failure, missing: Unlocated, event_id: str, *, known: Mapping[str, int] | None = None
) -> Iterator[Movement]:
    """Yield the entries that put records without rows before a person, under the reasons of `missing`.

    `known` are those of them, by their reason until now, that the journal counts already; the others are new in it.
    """
    before = Counter(known or {})
    if before:
        yield _move(failure, EntryKind.REOPENED, before, event_id)
    more = missing.records - before.total()
    if more:
        yield _move(failure, EntryKind.SEEN, missing.counts, event_id, records=more)
    if missing.records:
        yield _move(failure, EntryKind.QUARANTINED, missing.counts, event_id, missing)


_ROUTES: Final = {
    EntryKind.REOPENED: (Bucket.QUARANTINED, Bucket.PENDING),
    EntryKind.SEEN: (None, Bucket.PENDING),
    EntryKind.QUARANTINED: (Bucket.PENDING, Bucket.QUARANTINED),
}


def _move(
    failure: Failure,
    kind: EntryKind,
    reasons: Mapping[str, int],
    event_id: str,
    missing: Unlocated | None = None,
    *,
    records: int | None = None,
) -> Movement:
    count = sum(reasons.values()) if records is None else records
    said = {"suggestions": dict(missing.suggestions), _NAMED: dict(missing.named)} if missing else {}
    detail = {"reasons": dict(reasons), **said, BY_CODE: by_code(failure, count)}
    return Movement(kind, *_ROUTES[kind], count, Decimal(0), event_id=event_id, detail=detail)


def by_code(failure: Failure, records: int) -> dict[str, dict[str, object]]:
    """Return under which code records without rows are counted, in the form that an entry's detail carries."""
    return detail_of({failure.code or UNLOCATED: Tally(records)})


def named_without_rows(entries: Sequence[EntryRow]) -> dict[str, str]:
    """Return identifier -> reason of the records that Stripe named when their rows were not found."""
    return {
        identifier: reason
        for entry in entries
        if entry.kind == EntryKind.QUARANTINED
        for reason, identifiers in entry.detail.get(_NAMED, {}).items()
        for identifier in identifiers
    }


def shared_out(counts: Counter[str], records: int) -> Counter[str]:
    """Return by reason which of the counted records so many stand for; fewer where fewer are counted."""
    shares: Counter[str] = Counter()
    for reason, count in counts.items():
        shares[reason] = min(count, records - shares.total())
    return +shares
