"""Holding records back that look sendable alone: other rows of the files speak against it."""

import polars as pl

from workers.kernel.codes import Outcome
from workers.kernel.reasons import WOULD_OVERWRITE
from workers.offline.windows import ADVICE, WaitingWindows
from workers.records.schema import FAULT, OUTCOME, REASON, ROW, SUGGESTION, VALID_FROM


def hold_rows(decided: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """Put the rows of `held` (`failed_rows.HELD_SCHEMA`) into quarantine, whatever was decided of them."""
    if held.is_empty():
        return decided
    joined = decided.join(held, on=ROW, how="left", suffix=" held", maintain_order="left")
    reason, advice = pl.col(f"{REASON} held"), pl.col(f"{SUGGESTION} held")
    return quarantined(joined, reason.is_not_null(), reason, advice).drop(f"{REASON} held", f"{SUGGESTION} held")


def hold_windows(decided: pl.DataFrame, waiting: WaitingWindows) -> pl.DataFrame:
    """Put what is to be sent into a window in which another value waits into quarantine."""
    if not waiting:
        return decided
    to_be_sent = pl.col(OUTCOME).is_in([Outcome.VALID, Outcome.REPAIRED])
    stopped = to_be_sent & waiting.holds().fill_null(value=False)
    return quarantined(decided, stopped, pl.lit(WOULD_OVERWRITE), pl.lit(ADVICE))


def quarantined(decided: pl.DataFrame, stopped: pl.Expr, reason: pl.Expr, advice: pl.Expr) -> pl.DataFrame:
    """Quarantine what is stopped; a record without a fault is counted under the reason."""
    return decided.with_columns(
        pl.when(stopped).then(pl.lit(str(Outcome.QUARANTINED))).otherwise(OUTCOME).alias(OUTCOME),
        pl.when(stopped).then(reason).otherwise(REASON).alias(REASON),
        pl.when(stopped).then(advice).otherwise(SUGGESTION).alias(SUGGESTION),
        pl.when(stopped).then(pl.coalesce(FAULT, reason)).otherwise(FAULT).alias(FAULT),
        pl.when(~stopped).then(VALID_FROM).alias(VALID_FROM),
    )
