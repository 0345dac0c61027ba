"""What a remedy is, and the few words that every remedy is written in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import polars as pl

from workers.kernel.reasons import Reason
from workers.records.catalog import CUSTOMER_ID, Catalog, only_asked
from workers.records.timestamps import Window
from workers.records.validation import Standard
from workers.remedies.rules import ALIAS, TARGET, Rules
from workers.remedies.suggestions import IdIndex

HOW: Final = "@how"
"""In which way a remedy changed a record, as a slug; one that ends in `_rule` did it on the operator's word."""


@dataclass(frozen=True, eq=False)
class RepairContext:
    """What a remedy may know: the standard that records are judged by, and the operator's rules."""

    standard: Standard
    rules: Rules

    @property
    def catalog(self) -> Catalog:
        """The account's meters and customers."""
        return self.standard.catalog

    @cached_property
    def ids(self) -> IdIndex | None:
        """The known customers, to find the nearest to a wrong one; null when unknown."""
        known = self.catalog.known_customers
        return None if known is None else IdIndex(known[CUSTOMER_ID])

    @property
    def window(self) -> Window:
        """The time in which Stripe takes records."""
        return self.standard.window


Mend = Callable[[pl.DataFrame, RepairContext], pl.DataFrame]
"""Takes judged records with the remedy's fault; returns them in that order, mended where one reading exists."""
Advise = Callable[[pl.DataFrame, RepairContext], pl.Series]
"""Takes records that stay faulty; returns for each a sentence that names what stands in it, or null."""
Defer = Callable[[RepairContext], tuple[pl.Expr, pl.Expr]]
"""Returns whether a record that stays faulty may wait, and the RFC 3339 time from which it is valid (or null)."""


@dataclass(frozen=True)
class Remedy:
    """All that is known of one code of Stripe's. What `mend` leaves as it is waits, or goes to a person.

    He is told what `advise` says of the record, else the reason's next step.

    `aspect` is the one of `validation.ASPECTS` in which a record has to change before Stripe takes it. `reason`
    says what the code means and what to do, for people. `shown_in` is the column in which the fault shows; null
    where something is absent. `cause_outside`: the cause may go away while the record stays as it is (the customer
    is created, the time comes); such a record may be sent unchanged, once a live catalog shows that it has gone.
    `awaits` names, as in `schema.AWAITS`, what has to come for that, where Stripe tells that it has come.
    """

    code: str
    aspect: str
    reason: Reason
    mend: Mend
    advise: Advise | None = None
    defer: Defer | None = None
    shown_in: str | None = None
    cause_outside: bool = False
    awaits: pl.Expr | None = None


def offer(rows: pl.DataFrame, column: str, *offers: tuple[str, pl.Expr | pl.Series]) -> pl.DataFrame:
    """Put the first offer that is not null into the column, and note `HOW` where that changes it.

    Each offer is (how, text or null per record).
    """
    texts = [pl.lit(text) if isinstance(text, pl.Series) else text for _, text in offers]
    names = [f"@offer{place}" for place in range(len(texts))]
    how = pl.coalesce(
        pl.when(pl.col(name).is_not_null()).then(pl.lit(way)) for name, (way, _) in zip(names, offers, strict=True)
    )
    chosen = pl.coalesce(names)
    changes = chosen.is_not_null() & chosen.ne_missing(pl.col(column))
    return (
        rows.lazy()  # an eager frame would evaluate what the offers share once for each
        .with_columns(text.alias(name) for name, text in zip(names, texts, strict=True))
        .with_columns(
            pl.when(changes).then(chosen).otherwise(pl.col(column)).alias(column),
            pl.when(changes).then(how).otherwise(pl.col(HOW)).alias(HOW),
        )
        .drop(names)
        .collect()
    )


def replace(rows: pl.DataFrame, how: str, columns: Mapping[str, tuple[pl.Expr, str | None]]) -> pl.DataFrame:
    """Put a text, or null, into each column where its condition holds, and note `HOW` where that changes any."""
    changes = [holds & pl.col(name).ne_missing(pl.lit(text)) for name, (holds, text) in columns.items()]
    return rows.with_columns(
        pl.when(pl.any_horizontal(pl.lit(value=False), *changes)).then(pl.lit(how)).otherwise(HOW).alias(HOW),
        *(pl.when(holds).then(pl.lit(text)).otherwise(name).alias(name) for name, (holds, text) in columns.items()),
    )


def translate(rows: pl.DataFrame, texts: pl.Expr, table: pl.DataFrame) -> pl.Series:
    """Return the table's `target` for each text that is one of its `alias`es, else null. Made for large tables."""
    if table.is_empty():
        return pl.Series(TARGET, [None], dtype=pl.String).new_from_index(0, rows.height)
    asked = rows.select(texts.cast(pl.String).alias(ALIAS))
    return asked.join(only_asked(table, ALIAS, asked[ALIAS]), on=ALIAS, how="left", maintain_order="left")[TARGET]


def sentence(rows: pl.DataFrame, expression: pl.Expr) -> pl.Series:
    """Evaluate an expression that gives a sentence or null for each record."""
    return rows.lazy().select(expression.cast(pl.String).alias("sentence")).collect().to_series()
