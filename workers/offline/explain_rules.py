"""What the operator's rules would change on given files: before -> after, with counts and quantity.

Changes that every file gets without a rule are not listed. What a rule does without changing a record (it lets it
wait, or no longer) shows in the outcomes with and without the rules.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

import polars as pl

from workers.offline.output_folder import changes_of
from workers.offline.repair_files import plan_surveyed
from workers.offline.summary import OutcomeCounts
from workers.offline.survey import PlanOptions, survey
from workers.records import quantities
from workers.records.catalog import Catalog
from workers.records.schema import QUANTITY
from workers.remedies.rules import Rules

_KEY: Final = ["remedy", "column", "before", "after"]


@dataclass(frozen=True)
class RuleChange:
    """One text that a rule puts in place of another, in so many records with so much quantity.

    Of `unreadable_quantity` of them the quantity is not known; null where it is known of none.
    """

    remedy: str
    column: str
    before: str | None
    after: str | None
    records: int
    quantity: Decimal | None
    unreadable_quantity: int


@dataclass(frozen=True)
class Explained:
    """The outcomes without and with the rules, and what the rules change, the most frequent first."""

    without: OutcomeCounts
    with_rules: OutcomeCounts
    changes: Sequence[RuleChange]


def explain(
    paths: Sequence[Path], *, catalog: Catalog, rules: Rules, now: datetime, options: PlanOptions
) -> Explained:
    """Plan the files twice, without the rules and with them, writing nothing. Raises FileUnusable."""
    surveys = survey(paths, catalog, options)
    without = plan_surveyed(surveys, catalog, Rules(), now, options)
    changes = _RuleChanges()
    ruled = plan_surveyed(surveys, catalog, rules, now, options, changes)
    return Explained(without.outcomes, ruled.outcomes, changes.collected())


class _RuleChanges:
    """A sink that keeps only what rules changed, summed up by run."""

    template = None

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []

    def append(self, corrected: Iterable[tuple[bytes, int]], treated: pl.DataFrame) -> None:
        del corrected
        ruled = changes_of(treated).filter(pl.col("remedy").str.ends_with("_rule"))
        self._parts.append(ruled.group_by(_KEY).agg(pl.len().alias("records"), QUANTITY))

    def collected(self) -> list[RuleChange]:
        merged = pl.concat(self._parts).group_by(_KEY).agg(pl.col("records").sum(), pl.col(QUANTITY).explode())
        ordered = merged.sort("records", *_KEY, descending=[True, *[False] * len(_KEY)], nulls_last=True)
        return [
            RuleChange(remedy, column, before, after, records, _total(amounts), amounts.count(None))
            for remedy, column, before, after, records, amounts in ordered.iter_rows()
        ]


def _total(amounts: Sequence[str | None]) -> Decimal | None:
    return None if set(amounts) == {None} else quantities.total(pl.Series(amounts, dtype=pl.String))
