"""Records in, outcomes out: `repair_frame` is the engine's core, the same for any cut of a file.

1. A cheap vectorised pass finds the records that are sound and that Stripe never refused: valid, and done.
2. The full diagnosis judges the others; they are treated (`apply`) and decided (`outcome`).
3. What is quarantined gets its original values back: a half-repaired record is nobody's.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD, Outcome
from workers.kernel.reasons import VALUE_OF_OTHER_NOTATION
from workers.records import quantities
from workers.records.catalog import RESOLVED, VALUE_TEXT, Catalog
from workers.records.notation import COMMA_SHOWN, POINT_SHOWN
from workers.records.quick_check import SOUND, mark_sound
from workers.records.schema import (
    CHANGES,
    CODE,
    CODES,
    FAILURE_COLUMNS,
    MENDED_BY_HAND,
    OUTCOME,
    PLAN_COLUMNS,
    QUANTITY,
    READ_FROM,
    READER_COLUMNS,
    ROW,
    VALUE_READ,
    original_columns,
    with_columns_of,
)
from workers.records.timestamps import Window
from workers.records.validation import FAULT_COLUMNS, PAYLOAD_AS_TEXT, Standard, fault_column
from workers.remedies.apply import FAULTS, HOWS, MENDED, PLACE, treat
from workers.remedies.outcome import decide
from workers.remedies.remedy import RepairContext
from workers.remedies.rules import ALIAS, Rules

NO_ROWS: Final = pl.Series(ROW, dtype=pl.Int64)

_WORKING: Final = (*RESOLVED, *FAULT_COLUMNS, COMMA_SHOWN, POINT_SHOWN, MENDED, HOWS, PLACE, CODES, MENDED_BY_HAND)


def circumstances(
    catalog: Catalog,
    rules: Rules,
    now: datetime,
    repeated_rows: pl.Series = NO_ROWS,
    *,
    for_dashboard: bool = False,
) -> RepairContext:
    """Return what records are repaired by at the moment `now` (aware).

    `repeated_rows` (Int64) are the rows whose identifier stands on an earlier row, or in an earlier file.
    """
    active = {meter.event_name for meter in catalog.active}
    standard = Standard(
        catalog,
        Window(now),
        customer_aliases=rules.customer_aliases[ALIAS],
        event_aliases=rules.event_aliases[ALIAS],
        repeated_rows=repeated_rows,
        decimal_marks=rules.decimal_marks,
        quantity_columns=rules.quantity_columns,
        renamed={name: target for name, target in rules.renamed.items() if name not in active},
        for_dashboard=for_dashboard,
    )
    return RepairContext(standard, rules)


def repair_frame(
    frame: pl.DataFrame,
    *,
    catalog: Catalog,
    rules: Rules,
    now: datetime,
    resubmit_valid: bool = True,
    repeated_rows: pl.Series = NO_ROWS,
) -> pl.DataFrame:
    """Return the canonical frame in its order with `PLAN_COLUMNS` and `FAULTS`, repaired where it can be.

    `now` is aware and decides which times Stripe takes. `resubmit_valid=False` says that Stripe refused every
    record of the frame, also those without a `CODE`. Columns of the caller's own are carried along.
    """
    context = circumstances(catalog, rules, now, repeated_rows)
    sifted = sift(frame.lazy(), context, resubmit_valid=resubmit_valid).collect()
    sound = sifted.filter(SOUND).drop(SOUND).with_columns(**_plan_of_sound())
    treated = treat_suspects(sifted.filter(~pl.col(SOUND)).drop(SOUND, VALUE_TEXT), context)
    return pl.concat([sound, treated], how="diagonal").sort(PLACE).drop(_WORKING, strict=False)


def sift(
    records: pl.LazyFrame, context: RepairContext, *, resubmit_valid: bool = True, first_place: int = 0
) -> pl.LazyFrame:
    """Add `SOUND` and `catalog.VALUE_TEXT`: what is sound, and Stripe never refused, is done with.

    `first_place` is the place of the first record, where records are treated together.
    """
    placed = with_columns_of(records, (*READER_COLUMNS, *FAILURE_COLUMNS, CODES, MENDED_BY_HAND)).with_row_index(
        PLACE, first_place
    )
    if not resubmit_valid:
        placed = placed.with_columns(pl.col(CODE).fill_null(MALFORMED_RECORD))
    return mark_sound(placed, context.standard).with_columns(
        pl.col(SOUND) & pl.all_horizontal(pl.col(CODE, READ_FROM).is_null())
    )


def treat_suspects(
    frame: pl.DataFrame,
    context: RepairContext,
    hold: Callable[[pl.DataFrame], pl.DataFrame] = lambda decided: decided,
) -> pl.DataFrame:
    """Judge, treat and decide records that are not sound, or were refused.

    `hold` may put decided records into quarantine for what no single record tells. It gets them as they were
    treated; then those that are quarantined get their original values back.
    """
    as_text = pl.when(pl.col(READ_FROM).is_not_null()).then(pl.lit(PAYLOAD_AS_TEXT))
    faults = pl.concat_str(as_text, *FAULT_COLUMNS, separator=",", ignore_nulls=True).replace("", None)
    judged = context.standard.judge(frame).with_columns(faults.alias(FAULTS))
    decided = decide(treat(judged, context), context).with_columns(
        _readable_quantity().alias(QUANTITY),
        pl.when(pl.col(CHANGES) != "").then(pl.format("[{}]", CHANGES)).alias(CHANGES),
    )
    return _as_it_was(hold(decided), judged)


def _as_it_was(decided: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """Give quarantined records their original values back."""
    columns = [*original_columns(decided.columns), VALUE_READ]
    before = with_columns_of(judged, columns)
    quarantined = pl.col(OUTCOME) == Outcome.QUARANTINED
    return decided.with_columns(
        *(pl.when(quarantined).then(before[name]).otherwise(pl.col(name)).alias(name) for name in columns),
        pl.when(~quarantined).then(CHANGES).alias(CHANGES),
    )


def _plan_of_sound() -> dict[str, pl.Expr]:
    known = {OUTCOME: pl.lit(str(Outcome.VALID)), QUANTITY: pl.col(VALUE_TEXT)}
    return known | {name: pl.lit(None, pl.String) for name in (*PLAN_COLUMNS, FAULTS) if name not in known}


def _readable_quantity() -> pl.Expr:
    """Return the value where it is certain; a plain decimal is not where its file writes numbers another way."""
    value, fault = pl.col(VALUE_TEXT), pl.col(fault_column("value"))
    certain = quantities.is_plain(value) & fault.ne_missing(pl.lit(VALUE_OF_OTHER_NOTATION))
    return pl.when(certain & (value.str.len_bytes() <= quantities.MAX_LENGTH)).then(value)
