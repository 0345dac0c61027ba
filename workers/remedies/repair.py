"""Records in, outcomes out: `repair_frame` is the engine's core, the same for any cut of a file.

1. One vectorised diagnosis judges every record. The clean ones that Stripe never refused are valid, and done.
2. The others are treated (`treatment`) and decided (`outcomes`).
3. What is quarantined gets its original values back: a half-repaired record is nobody's.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD, Outcome
from workers.records import quantities
from workers.records.catalog import VALUE_TEXT, Catalog, with_columns_of
from workers.records.diagnosis import FAULT_COLUMNS, Standard, is_clean
from workers.records.schema import (
    CHANGES,
    CODE,
    FAILURE_COLUMNS,
    OUTCOME,
    PLAN_COLUMNS,
    QUANTITY,
    READER_COLUMNS,
    ROW,
    original_columns,
)
from workers.records.timestamps import Window
from workers.remedies.outcomes import decide
from workers.remedies.remedy import Context
from workers.remedies.rules import ALIAS, Rules
from workers.remedies.treatment import FAULTS, treat

NO_ROWS: Final = pl.Series(ROW, dtype=pl.Int64)


def circumstances(catalog: Catalog, rules: Rules, now: datetime) -> Context:
    """Return what records are repaired by at the moment `now` (aware)."""
    standard = Standard(
        catalog,
        Window(now),
        customer_aliases=rules.customer_aliases[ALIAS],
        event_aliases=rules.event_aliases[ALIAS],
    )
    return Context(standard, rules)


def repair_frame(
    frame: pl.DataFrame,
    *,
    catalog: Catalog,
    rules: Rules,
    now: datetime,
    resubmit_valid: bool = True,
    repeated_rows: pl.Series = NO_ROWS,
) -> pl.DataFrame:
    """Return the canonical frame with `PLAN_COLUMNS` and `FAULTS`, in its order, repaired where it can be.

    `now` is aware and decides which times Stripe takes. `resubmit_valid=False` says that Stripe refused every
    record of the frame, also those without a `CODE`. `repeated_rows` (Int64) are the rows whose identifier stands
    on an earlier row of the file.
    """
    context = circumstances(catalog, rules, now)
    standard = replace(context.standard, repeated_rows=repeated_rows)
    return _repair(_with_code(frame, resubmit_valid=resubmit_valid), Context(standard, rules))


def _repair(frame: pl.DataFrame, context: Context) -> pl.DataFrame:
    judged = context.standard.judge(frame)
    healthy = is_clean() & pl.col(CODE).is_null()
    treated = _treated(judged.filter(~healthy), context)
    valid = judged.filter(healthy).with_columns(_plan_of_valid())
    columns = (*original_columns(treated.columns), *READER_COLUMNS, *FAILURE_COLUMNS, *PLAN_COLUMNS, FAULTS)
    both = (with_columns_of(part, columns).select(columns) for part in (valid, treated))
    return pl.concat(both).sort(ROW)


def _treated(judged: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Treat and decide records that are faulty or were refused."""
    faults = pl.concat_str(FAULT_COLUMNS, separator=",", ignore_nulls=True)
    found = judged.with_columns(faults.alias(FAULTS))
    decided = decide(treat(found, context), context).with_columns(
        _readable_quantity().alias(QUANTITY),
        pl.when(pl.col(CHANGES) != "").then(pl.format("[{}]", CHANGES)).alias(CHANGES),
    )
    return _as_it_was(decided, judged)


def _as_it_was(decided: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """Give quarantined records their original values back."""
    columns = original_columns(decided.columns)
    before = with_columns_of(judged.sort(ROW), columns).select(columns)
    quarantined = pl.col(OUTCOME) == Outcome.QUARANTINED
    return decided.with_columns(
        *(pl.when(quarantined).then(before[name]).otherwise(pl.col(name)).alias(name) for name in columns),
        pl.when(~quarantined).then(CHANGES).alias(CHANGES),
    )


def _plan_of_valid() -> list[pl.Expr]:
    nothing = [
        pl.lit(None, pl.String).alias(name) for name in (*PLAN_COLUMNS, FAULTS) if name not in {OUTCOME, QUANTITY}
    ]
    return [pl.lit(str(Outcome.VALID)).alias(OUTCOME), pl.col(VALUE_TEXT).alias(QUANTITY), *nothing]


def _readable_quantity() -> pl.Expr:
    value = pl.col(VALUE_TEXT)
    return pl.when(quantities.is_plain(value) & (value.str.len_bytes() <= quantities.MAX_LENGTH)).then(value)


def _with_code(frame: pl.DataFrame, *, resubmit_valid: bool) -> pl.DataFrame:
    frame = with_columns_of(frame, (*READER_COLUMNS, *FAILURE_COLUMNS))
    return frame if resubmit_valid else frame.with_columns(pl.col(CODE).fill_null(MALFORMED_RECORD))
