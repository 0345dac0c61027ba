"""The double-entry journal of records: every entry moves records from one bucket to another.

Each refused record stands in exactly one bucket of its case, so the equation
`failed = confirmed + in flight + deferred + quarantined + corrected + written off` holds after every entry, and
`metermend prove` recomputes it from the entries and the record sets.
"""

import decimal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Self

from workers.kernel.errors import Corrupt
from workers.kernel.ledger.examples import Examples


class Bucket(StrEnum):
    """Where a refused record stands."""

    PENDING = "pending"
    PLANNED = "planned"
    SUBMITTED = "submitted"
    CONFIRMED = "confirmed"
    DEFERRED = "deferred"
    QUARANTINED = "quarantined"
    CORRECTED = "corrected"
    WRITTEN_OFF = "written_off"


IN_FLIGHT = (Bucket.PENDING, Bucket.PLANNED, Bucket.SUBMITTED)
WAITING: Final = (Bucket.QUARANTINED, Bucket.DEFERRED)
"""Where records wait, for a person or for their time."""


class EntryKind(StrEnum):
    """What happened, in the words of the journal."""

    SEEN = "seen"
    REVALUED = "revalued"
    PLANNED = "planned"
    DEFERRED = "deferred"
    QUARANTINED = "quarantined"
    INTENDED = "intended"
    SENT = "sent"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    HELD = "held"
    REOPENED = "reopened"
    LOCATED = "located"
    APPROVED = "approved"
    UNDONE = "undone"
    CORRECTED = "corrected"
    WRITTEN_OFF = "written_off"
    REMOVED = "removed"
    ERASED = "erased"
    NOTED = "noted"


_EXACT = decimal.Context(prec=400, traps=[decimal.Inexact])
"""Sums of quantities are exact or fail; the engine reads no quantity of more than 64 characters."""

Route = tuple[Bucket | None, Bucket | None]

ROUTES: Mapping[EntryKind, tuple[Route, ...]] = {
    EntryKind.SEEN: ((None, Bucket.PENDING),),
    # A rule, such as a decimal comma, can make a quantity readable that was not when the record was seen.
    EntryKind.REVALUED: ((None, Bucket.PENDING),),
    EntryKind.PLANNED: ((Bucket.PENDING, Bucket.PLANNED),),
    EntryKind.DEFERRED: ((Bucket.PENDING, Bucket.DEFERRED), (Bucket.PLANNED, Bucket.DEFERRED)),
    EntryKind.QUARANTINED: (
        (Bucket.PENDING, Bucket.QUARANTINED),
        (Bucket.PLANNED, Bucket.QUARANTINED),
        # Intended, and stopped by a guard before anything was sent.
        (Bucket.SUBMITTED, Bucket.QUARANTINED),
    ),
    EntryKind.INTENDED: ((Bucket.PLANNED, Bucket.SUBMITTED),),
    EntryKind.SENT: ((None, None),),
    EntryKind.CONFIRMED: ((Bucket.SUBMITTED, Bucket.CONFIRMED),),
    EntryKind.REFUSED: ((Bucket.SUBMITTED, Bucket.PENDING), (Bucket.CONFIRMED, Bucket.PENDING)),
    EntryKind.HELD: ((Bucket.SUBMITTED, Bucket.QUARANTINED), (Bucket.CONFIRMED, Bucket.QUARANTINED)),
    EntryKind.REOPENED: (
        (Bucket.DEFERRED, Bucket.PENDING),
        (Bucket.QUARANTINED, Bucket.PENDING),
        # Somebody has taken back what he had decided.
        (Bucket.CORRECTED, Bucket.QUARANTINED),
        (Bucket.WRITTEN_OFF, Bucket.QUARANTINED),
    ),
    # Rows that were only counted until now, found after all: they take the place of as many counted ones.
    EntryKind.LOCATED: ((Bucket.QUARANTINED, Bucket.PENDING),),
    EntryKind.APPROVED: ((None, None),),
    EntryKind.UNDONE: ((Bucket.SUBMITTED, Bucket.QUARANTINED), (Bucket.CONFIRMED, Bucket.QUARANTINED)),
    EntryKind.CORRECTED: ((Bucket.QUARANTINED, Bucket.CORRECTED), (Bucket.DEFERRED, Bucket.CORRECTED)),
    EntryKind.WRITTEN_OFF: ((Bucket.QUARANTINED, Bucket.WRITTEN_OFF), (Bucket.DEFERRED, Bucket.WRITTEN_OFF)),
    # Retention has removed the case's record sets; the journal goes on standing without them.
    EntryKind.REMOVED: ((None, None),),
    # A customer was erased from the case: earlier entries have lost what named him, and this one has their digests.
    EntryKind.ERASED: ((None, None),),
    # What is known of the case or of a submission has changed, and no record has moved with it.
    EntryKind.NOTED: ((None, None),),
}
"""The ways that records may move. A movement outside this table is refused."""


OURSELVES: Final = "metermend"
"""Who has moved records where nobody has asked for it."""


@dataclass(frozen=True)
class RecordSetRef:
    """A record set in the archive: its name and the sha256 of its bytes."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Movement:
    """One entry to be written. `quantity` sums the readable quantities; records without one count as 0.

    `examples` are a few of its records, for whoever looks at the case; no part of the entry.
    """

    kind: EntryKind
    from_bucket: Bucket | None
    to_bucket: Bucket | None
    records: int
    quantity: Decimal
    revision: int = 0
    record_set: RecordSetRef | None = None
    submission_id: str | None = None
    event_id: str | None = None
    actor: str = OURSELVES
    detail: Mapping[str, Any] = field(default_factory=dict)
    examples: Examples = field(default=Examples(), compare=False)

    def __post_init__(self) -> None:
        if (self.from_bucket, self.to_bucket) not in ROUTES[self.kind]:
            raise Corrupt(f"{self.kind} cannot move records from {self.from_bucket} to {self.to_bucket}")
        if self.records < 0:
            raise Corrupt(f"{self.kind} cannot move {self.records} records")


_FOUND: Final = "found"
NOT_KNOWN: Final = "not known"


@dataclass(frozen=True)
class Tally:
    """A count of records with the quantity that they carry."""

    records: int = 0
    quantity: Decimal = Decimal(0)

    @property
    def shown(self) -> str:
        """The quantity for a person: decimal text, or `not known` where it is 0 though there are records.

        The journal sums the quantities that can be read, and cannot tell how many cannot: say "readable" beside it.
        """
        if self.records and not self.quantity:
            return NOT_KNOWN
        text = format(self.quantity, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text

    def __add__(self, other: Self) -> "Tally":
        return Tally(self.records + other.records, _EXACT.add(self.quantity, other.quantity))

    def __neg__(self) -> "Tally":
        return Tally(-self.records, _EXACT.minus(self.quantity))


class Found(StrEnum):
    """How the row of a refused record is known."""

    NAMED = "named"
    """Stripe names it, or lists it."""
    EXACT = "exact"
    """As many rows were predicted as Stripe has counted."""
    CERTAIN = "certain"
    """Stripe can never have accepted it, and has been seen to refuse its kind."""
    PROVED = "proved"
    """Stripe's totals are without it."""
    UNEXPLAINED = "unexplained"
    """It is not: Stripe has counted it, and that is all."""


FOUND_BY: Final = "found_by"
"""In the detail of an entry that brings rows which Stripe did not name: a `Found`."""


@dataclass(frozen=True)
class Balance:
    """What stands in each bucket, and what was ever seen; `found` counts it by how the rows are known (`Found`)."""

    failed: Tally = Tally()
    buckets: Mapping[Bucket, Tally] = field(default_factory=dict)
    found: Mapping[str, int] = field(default_factory=dict, compare=False)

    def __getitem__(self, bucket: Bucket) -> Tally:
        return self.buckets.get(bucket, Tally())

    @property
    def in_flight(self) -> Tally:
        """Records that the service still works on."""
        return sum((self[bucket] for bucket in IN_FLIGHT), Tally())

    def after(self, movement: Movement) -> "Balance":
        """Return the balance with one movement applied. Raises Corrupt when a bucket would be overdrawn."""
        moved = Tally(movement.records, movement.quantity)
        buckets = dict(self.buckets)
        if movement.from_bucket is not None:
            buckets[movement.from_bucket] = self[movement.from_bucket] + -moved
            if buckets[movement.from_bucket].records < 0:
                raise Corrupt(
                    f"{movement.kind}: {movement.from_bucket} holds fewer than {movement.records} records"
                )
        if movement.to_bucket is not None:
            buckets[movement.to_bucket] = buckets.get(movement.to_bucket, Tally()) + moved
        is_new = movement.from_bucket is None and movement.to_bucket is not None
        return Balance(self.failed + moved if is_new else self.failed, buckets, self._found_after(movement))

    def _found_after(self, movement: Movement) -> Mapping[str, int]:
        found = Counter(self.found)
        if movement.kind is EntryKind.SEEN:
            found[Found.NAMED if movement.record_set else Found.UNEXPLAINED] += movement.records
        if movement.kind is EntryKind.LOCATED:
            found[Found(movement.detail.get(FOUND_BY, Found.NAMED))] += movement.records
            found[Found.UNEXPLAINED] -= movement.records
        return {how: found[how] for how in Found if found[how] > 0}

    def holds(self) -> bool:
        """Whether the equation of the journal holds, in records and in quantity."""
        return sum(self.buckets.values(), Tally()) == self.failed

    def __add__(self, other: Self) -> "Balance":
        buckets = {bucket: self[bucket] + other[bucket] for bucket in Bucket}
        sums = {how: self.found.get(how, 0) + other.found.get(how, 0) for how in Found}
        found: dict[str, int] = {how: records for how, records in sums.items() if records}
        return Balance(self.failed + other.failed, buckets, found)

    def __neg__(self) -> "Balance":
        found: dict[str, int] = {how: -records for how, records in self.found.items()}
        return Balance(-self.failed, {bucket: -tally for bucket, tally in self.buckets.items()}, found)

    def to_json(self) -> dict[str, Any]:
        """Return `{"failed": {"records", "quantity"}, bucket: {...}, "found": {how: records}}`.

        Quantities are decimal text.
        """
        tallies = {"failed": self.failed} | {bucket.value: self[bucket] for bucket in Bucket}
        told = {name: {"records": t.records, "quantity": format(t.quantity, "f")} for name, t in tallies.items()}
        return {**told, _FOUND: dict(self.found)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        tallies = {name: Tally(t["records"], Decimal(t["quantity"])) for name, t in data.items() if name != _FOUND}
        buckets = {bucket: tallies.get(bucket.value, Tally()) for bucket in Bucket}
        return cls(tallies.get("failed", Tally()), buckets, data.get(_FOUND, {}))
