"""The second witness: Stripe's own totals, asked about rows that the count alone does not settle.

Rows whose refusal depends on what was so at the time are asked about, those of more or fewer than Stripe has
counted, and all of a case that is about much. A row of which Stripe's totals are without goes; one that they hold
must not. Where they can tell in a while, the rows wait for them.
"""

from datetime import timedelta
from typing import Final

import polars as pl

from workers.alerts import NextStep
from workers.kernel.clock import from_epoch, from_text
from workers.kernel.ledger.case import Failure
from workers.kernel.reasons import LOOKS_BILLED
from workers.pipeline.context import Context
from workers.pipeline.fault_kinds import KIND
from workers.pipeline.locate.predict import CERTAIN
from workers.pipeline.notify.troubles import trouble
from workers.pipeline.totals.claimed import TOO_NEW, WHY_UNCLEAR, read_claimed
from workers.pipeline.totals.sender_totals import AMOUNT
from workers.pipeline.totals.witness import (
    BILLED,
    OWN_TOTAL,
    PROVED,
    STRIPE_TOTAL,
    UNCLEAR,
    WITNESS,
    WORDS,
    witness,
)
from workers.records import timestamps
from workers.records.catalog import Meter
from workers.records.quantities import add
from workers.records.schema import REASON, SUGGESTION, TIMESTAMP, WRITTEN, with_columns_of
from workers.records.timestamps import Window

_DAY: Final = timedelta(days=1)
_ADVICE: Final = "Stripe has counted {} of this customer on this day, your other records come to {}."


def ask(context: Context, failure: Failure, meter: Meter | None, rows: pl.DataFrame) -> pl.DataFrame:
    """Add `WITNESS` and the totals to rows; all are unclear where nothing can be asked. Raises Transient."""
    seconds = rows.select(timestamps.read(pl.col(TIMESTAMP), Window(context.clock()))).to_series().drop_nulls()
    first, last = seconds.min(), seconds.max()
    if meter is None or not isinstance(first, int) or not isinstance(last, int):
        return with_columns_of(rows, WORDS).with_columns(pl.lit(UNCLEAR).alias(WITNESS))
    start, end = from_epoch(first) - _DAY, from_epoch(last) + 2 * _DAY
    usage = context.sources_of(failure.account).rows([meter.event_name], start, end)
    validated = from_text(failure.window_end or "")
    return witness(context, failure.account, meter, rows, usage, validated_by=validated)


def agreed(context: Context, failure: Failure, meter: Meter | None, rows: pl.DataFrame) -> pl.DataFrame:
    """Return those rows of the ones that the count calls refused that may be claimed now.

    Those that the totals hold get a reason to wait; those that the totals can tell of in a while are left out.
    Where nothing can be asked the count decides.
    """
    asked = pl.lit(value=True) if _is_much(context, failure, meter, rows) else ~pl.col(CERTAIN)
    told = ask(context, failure, meter, rows.filter(asked))
    now = told.filter(pl.col(WHY_UNCLEAR).ne_missing(TOO_NEW))
    return pl.concat([rows.filter(~asked), _with_billed_held(now)], how="diagonal")


def _is_much(context: Context, failure: Failure, meter: Meter | None, rows: pl.DataFrame) -> bool:
    if meter is None or rows.is_empty():
        return False
    amounts = read_claimed(context, failure.account, meter, rows, None)[AMOUNT].drop_nulls()
    return add(*amounts.abs()) > context.settings.proof_quantity


def proved(context: Context, told: pl.DataFrame, missing: int) -> pl.DataFrame:
    """Return the rows that Stripe's totals are without; none where that could be true of other rows instead.

    So it is while nothing can be said of some, if there are more than are missing. A file that was never imported
    shows in no total either: what Stripe may still take in from it is left out.
    """
    imported_by_now = pl.col(WRITTEN) < context.clock() - context.validation_delay
    without = told.filter((pl.col(WITNESS) == PROVED) & (pl.col(CERTAIN) | imported_by_now))
    open_ones = told.filter(pl.col(WITNESS) == UNCLEAR).height
    return without.clear() if without.height > missing or (open_ones and told.height > missing) else without


def _with_billed_held(rows: pl.DataFrame) -> pl.DataFrame:
    """Give the rows that Stripe's totals hold, or may hold, a reason to wait."""
    billed = pl.col(WITNESS) == BILLED
    return with_columns_of(rows, (REASON, SUGGESTION)).with_columns(
        pl.when(billed).then(pl.lit(LOOKS_BILLED)).otherwise(REASON).alias(REASON),
        pl.when(billed)
        .then(pl.format(_ADVICE, STRIPE_TOTAL, pl.col(OWN_TOTAL).fill_null("another sum")))
        .otherwise(SUGGESTION)
        .alias(SUGGESTION),
    )


def strike_off(context: Context, failure: Failure, told: pl.DataFrame) -> None:
    """Believe no longer of a kind of fault that Stripe refuses it always, where its totals hold a row of it."""
    trusted = context.ledger.fault_kinds.trusted(failure.account)
    billed = told.filter(pl.col(CERTAIN) & (pl.col(WITNESS) == BILLED) & pl.col(KIND).is_in(list(trusted)))
    for kind in billed[KIND].unique(maintain_order=True):
        why = f"Stripe's totals hold a record of it ({failure.case_id})"
        context.ledger.fault_kinds.strike(failure.account, [kind], why)
        trouble(
            context,
            failure.case_id,
            "a kind of fault that Stripe was seen to refuse is billed all the same",
            f"{kind}: {why}. Its records wait for a person from now on, unless Stripe names them.",
            NextStep("See which of its records are billed.", f"metermend case show {failure.case_id}"),
        )
