"""What a plan comes to: records and quantity by outcome, by code and by remedy. Those of parts add up.

Quantities are exact decimals. A record whose quantity has no certain reading counts as a record, as nothing in
quantity, and in `unknown`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, TypeVar

import polars as pl

from workers.kernel.codes import Outcome
from workers.kernel.reasons import IDENTIFIER_REPEATED, VALUE_OF_OTHER_NOTATION, WOULD_OVERWRITE
from workers.offline.revisions import NEXT_REVISION
from workers.records import quantities
from workers.records.schema import CHANGES, FAULT, OUTCOME, QUANTITY, REASON, ROW
from workers.remedies.apply import FAULTS

Key = TypeVar("Key", str, tuple[str, str, str])
Amount = TypeVar("Amount")

ROWS_KEPT: Final = 1000
"""Row numbers that are kept of each fault; the count is exact beyond."""

_OPEN_OUTCOMES: Final = (Outcome.REPAIRED, Outcome.DEFERRED, Outcome.QUARANTINED)


@dataclass(frozen=True)
class FaultCount:
    """How many records have a fault, and the numbers of the first of them."""

    records: int
    rows: tuple[int, ...]

    def __add__(self, other: "FaultCount") -> "FaultCount":
        return FaultCount(self.records + other.records, (self.rows + other.rows)[:ROWS_KEPT])


@dataclass(frozen=True)
class OutcomeCounts:
    """Counts of a frame, a part or a file.

    `records`, `quantity` and `unknown` (records without a certain quantity) are by outcome; `reasons` are of the
    records that are not valid, by code, outcome and reason; `faults` are those found before any repair, by slug.
    """

    records: Mapping[str, int] = field(default_factory=dict)
    quantity: Mapping[str, Decimal] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    faults: Mapping[str, FaultCount] = field(default_factory=dict)
    remedies: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, treated: pl.DataFrame) -> "OutcomeCounts":
        amounts = dict(treated.group_by(OUTCOME).agg(QUANTITY).sort(OUTCOME).iter_rows())
        return cls(
            records={outcome: len(of) for outcome, of in amounts.items()},
            quantity={outcome: quantities.total(pl.Series(of, dtype=pl.String)) for outcome, of in amounts.items()},
            unknown={outcome: of.count(None) for outcome, of in amounts.items() if None in of},
            reasons=_reasons(treated),
            faults=_faults(treated),
            remedies=_remedies(treated),
        )

    @classmethod
    def of_valid(cls, records: int, quantity: Decimal) -> "OutcomeCounts":
        """Count records that nothing is wrong with."""
        valid = str(Outcome.VALID)
        return cls(records={valid: records}, quantity={valid: quantity})

    def __add__(self, other: "OutcomeCounts") -> "OutcomeCounts":
        return OutcomeCounts(
            records=_merged(self.records, other.records, int.__add__, 0),
            quantity=_merged(self.quantity, other.quantity, quantities.add, Decimal(0)),
            unknown=_merged(self.unknown, other.unknown, int.__add__, 0),
            reasons=_merged(self.reasons, other.reasons, int.__add__, 0),
            faults=_merged(self.faults, other.faults, FaultCount.__add__, FaultCount(0, ())),
            remedies=_merged(self.remedies, other.remedies, int.__add__, 0),
        )

    @property
    def total(self) -> int:
        return sum(self.records.values())

    @property
    def by_code(self) -> dict[str, dict[str, int]]:
        """Records that are not valid, by code and outcome."""
        counts: dict[str, dict[str, int]] = {}
        for (code, outcome, _), records in self.reasons.items():
            of_code = counts.setdefault(code, {})
            of_code[outcome] = of_code.get(outcome, 0) + records
        return counts

    @property
    def revised(self) -> int:
        """The records that have the next revision's identifier, since Stripe may hold the one that they had."""
        return self.remedies.get(NEXT_REVISION, 0)

    def for_reason(self, of: str) -> int:
        """Return the records that are not valid for this reason."""
        return sum(records for (_, _, reason), records in self.reasons.items() if reason == of)

    @property
    def refused(self) -> int:
        """The records that Stripe would not take, or has refused.

        It skips what repeats an identifier, and takes what is written in another notation, perhaps as another
        quantity, and what is sound and waits since another value of its window does.
        """
        taken = self.records.get(Outcome.VALID, 0) + self.for_reason(VALUE_OF_OTHER_NOTATION)
        held_back = sum(self.by_code.get(WOULD_OVERWRITE, {}).values())
        return self.total - taken - held_back - self.for_reason(IDENTIFIER_REPEATED)

    def amount(self, outcome: str) -> Decimal | None:
        """Return the quantity of the outcome's records; null where none of them has a readable one."""
        records = self.records.get(outcome, 0)
        return None if 0 < records == self.unknown.get(outcome, 0) else self.quantity.get(outcome, Decimal(0))

    def as_json(self) -> dict[str, Any]:
        """Return the document that `check` and `repair` print with `--json`, but for its `files`.

        A quantity is null where none of the records has a readable one; `unreadable_quantity` counts such records.
        """
        records = {str(outcome): self.records.get(outcome, 0) for outcome in Outcome}
        amounts = {str(outcome): self.amount(outcome) for outcome in Outcome}
        known = [amount for amount in amounts.values() if amount is not None]
        unknown = {str(outcome): self.unknown.get(outcome, 0) for outcome in Outcome}
        all_unknown = 0 < self.total == sum(unknown.values())
        return {
            "records": self.total,
            **records,
            "by_code": {
                code: {str(outcome): counts.get(outcome, 0) for outcome in _OPEN_OUTCOMES}
                for code, counts in sorted(self.by_code.items())
            },
            "quantity": {
                "records": None if all_unknown else quantities.to_text(quantities.add(*known)),
                **{outcome: None if of is None else quantities.to_text(of) for outcome, of in amounts.items()},
            },
            "unreadable_quantity": {"records": sum(unknown.values()), **unknown},
            "next_revisions": self.revised,
        }


def _merged(
    one: Mapping[Key, Amount], other: Mapping[Key, Amount], add: Callable[[Amount, Amount], Amount], nothing: Amount
) -> dict[Key, Amount]:
    """Add up what stands under the same key. The keys are sorted, so that no cut of a file shows in their order."""
    return {key: add(one.get(key, nothing), other.get(key, nothing)) for key in sorted(set(one) | set(other))}


def _reasons(treated: pl.DataFrame) -> dict[tuple[str, str, str], int]:
    faulty = treated.filter(pl.col(OUTCOME) != Outcome.VALID)
    counts = faulty.group_by(FAULT, OUTCOME, REASON).len().sort(FAULT, OUTCOME, REASON)
    return {(code, outcome, reason): records for code, outcome, reason, records in counts.iter_rows()}


def _faults(treated: pl.DataFrame) -> dict[str, FaultCount]:
    found = treated.select(pl.col(FAULTS).str.split(",").alias("slug"), ROW).explode("slug").drop_nulls("slug")
    groups = found.group_by("slug").agg(pl.len(), pl.col(ROW).sort().head(ROWS_KEPT)).sort("slug")
    return {slug: FaultCount(count, tuple(rows)) for slug, count, rows in groups.iter_rows()}


def _remedies(treated: pl.DataFrame) -> dict[str, int]:
    names = treated[CHANGES].drop_nulls().str.extract_all(r'"remedy":"[^"\\]*"').explode()
    counts = names.str.extract(r':"([^"]*)"').alias("name").value_counts().sort("name")
    return dict(counts.iter_rows())
