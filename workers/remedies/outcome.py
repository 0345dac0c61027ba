"""From treated records to outcomes: repaired, deferred or quarantined, each with its reason and a suggestion.

A record is repaired only when the same diagnosis that found its faults finds none any more, *and*, where Stripe
refused it, the aspect that Stripe's code names was changed. A refused record in which nothing was found or changed
would be refused again, or has been counted: it goes to a person (`no_fault_found`). Of several codes each has to be
answered.

One exception: the cause of some refusals lies outside the record (the customer has been created since, the meter
reactivated, the time has come). With a catalog that was fetched live the engine can see that such a cause has gone,
and the record may be sent as it is (`cured`). An offline catalog may be older than the refusal and proves nothing.
"""

from collections.abc import Iterator
from typing import Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD, Outcome
from workers.kernel.reasons import ALREADY_EXISTS, NO_FAULT_FOUND, UNKNOWN_CODE
from workers.records.schema import (
    AWAITS,
    CODE,
    CODES,
    FAULT,
    MENDED_BY_HAND,
    OUTCOME,
    REASON,
    SUGGESTION,
    VALID_FROM,
)
from workers.records.validation import FAULT_COLUMNS, fault_column
from workers.remedies.apply import FAULTS, HOWS, MENDED, PLACE, code_of, stated
from workers.remedies.codes import REMEDIES
from workers.remedies.remedy import Defer, RepairContext

CURED: Final = "cured"

ALL_FAULTS: Final = "@all_faults"
"""All that is wrong with a record, for a person: Stripe's codes, then the faults that were found, each once."""

_STUCK: Final = "@stuck"
_WAITING: Final = "@waiting"
_ANSWERED: Final = "@answered"
_ADVISER: Final = "@adviser"
_TELLS_NOTHING: Final = "nothing is wrong with it now; see in Stripe whether it has been counted since"
_HELD: Final = "Stripe has a record with this identifier: see whether it is this one before you bill it again"
_UNPRINTABLE: Final = r"\p{C}"
"""What not every database can store, and no name has."""
_LONGEST_NAME: Final = 255
_CODE_IS_NEW: Final = "no remedy knows this code; see Stripe's message"


def decide(treated: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Add `OUTCOME`, `FAULT`, `REASON`, `SUGGESTION`, `VALID_FROM` and `AWAITS` to treated records."""
    may_wait = {name: _may_wait(name, context) for name in FAULT_COLUMNS}
    waiting = treated.with_columns(
        pl.coalesce(*(pl.when(waits).then(name) for name, waits in may_wait.items())).alias(_WAITING),
        pl.coalesce(*(pl.when(~waits).then(name) for name, waits in may_wait.items())).alias(_STUCK),
    )
    answered = waiting.with_columns(_is_answered(context, waiting).alias(_ANSWERED))
    decided = answered.with_columns(
        *_outcome_and_reason(context),
        pl.coalesce(CODE, code_of(pl.col(FAULTS).str.split(",").list.first())).alias(FAULT),
    )
    timed = decided.with_columns(
        pl.when(pl.col(OUTCOME) == Outcome.DEFERRED).then(_valid_from(context)).alias(VALID_FROM)
    )
    return _advised(timed.with_columns(_awaits().alias(AWAITS)), context).drop(_WAITING, _STUCK, _ANSWERED)


def quarantined(decided: pl.DataFrame, stopped: pl.Expr, reason: pl.Expr, advice: pl.Expr) -> pl.DataFrame:
    """Quarantine what is stopped; a record without a fault is counted under the reason."""
    told = {
        OUTCOME: pl.lit(str(Outcome.QUARANTINED)),
        REASON: reason,
        SUGGESTION: advice,
        FAULT: pl.coalesce(FAULT, reason),
        VALID_FROM: pl.lit(None, pl.String),
        AWAITS: pl.lit(None, pl.String),
    }
    return decided.with_columns(
        pl.when(stopped).then(new).otherwise(name).alias(name) for name, new in told.items()
    )


def all_faults() -> pl.Expr:
    """Return `ALL_FAULTS` of decided records; null where nothing is known but that Stripe refused the form."""
    told = pl.coalesce(CODES, CODE)
    slugs = pl.concat_str(told, FAULTS, *FAULT_COLUMNS, separator=",", ignore_nulls=True).str.split(",")
    telling = pl.element().filter(~pl.element().is_in([MALFORMED_RECORD, ""]))
    listed = slugs.list.unique(maintain_order=True).list.eval(telling).list.join(", ")
    return pl.when(listed != "").then(listed)


def _may_wait(column: str, context: RepairContext) -> pl.Expr:
    """Tell whether the record's fault in that aspect is one that may be waited for."""
    waits = [
        (pl.col(column) == code) & defer(context)[0] for code, of, defer in _deferrals() if of == column
    ]  # fmt: skip
    return pl.col(column).is_not_null() & pl.any_horizontal(pl.lit(value=False), *waits).fill_null(value=False)


def _valid_from(context: RepairContext) -> pl.Expr:
    return pl.coalesce(
        *(pl.when(pl.col(column) == code).then(defer(context)[1]) for code, column, defer in _deferrals())
    )


def _awaits() -> pl.Expr:
    """Name what records wait for that nothing else holds back: who waits for their time waits for nothing else."""
    waits = (pl.col(OUTCOME) != Outcome.REPAIRED) & pl.col(VALID_FROM).is_null()
    named = (
        pl.when(waits & (pl.col(REASON) == code)).then(remedy.awaits)
        for code, remedy in REMEDIES.items()
        if remedy.awaits is not None
    )
    name = pl.coalesce(*named)
    return pl.when(~name.str.contains(_UNPRINTABLE) & (name.str.len_chars() <= _LONGEST_NAME)).then(name)


def _deferrals() -> Iterator[tuple[str, str, Defer]]:
    """Return the code, the fault column and the deferral of each remedy that lets records wait."""
    return ((code, fault_column(one.aspect), one.defer) for code, one in REMEDIES.items() if one.defer)


def _outcome_and_reason(context: RepairContext) -> tuple[pl.Expr, pl.Expr]:
    code, stuck, waiting = pl.col(CODE), pl.col(_STUCK), pl.col(_WAITING)
    checkable = [known for known in REMEDIES if context.standard.can_check(known)]
    cases = (
        (code.is_not_null() & ~_is_known(), Outcome.QUARANTINED, pl.lit(UNKNOWN_CODE)),
        (stuck.is_not_null(), Outcome.QUARANTINED, stuck),
        (~pl.col(_ANSWERED) & ~code.is_in(checkable), Outcome.QUARANTINED, code),
        (~pl.col(_ANSWERED), Outcome.QUARANTINED, pl.lit(NO_FAULT_FOUND)),
        (waiting.is_not_null(), Outcome.DEFERRED, waiting),
        (pl.col(MENDED) != "", Outcome.REPAIRED, pl.col(HOWS)),
        (code.is_not_null(), Outcome.REPAIRED, pl.lit(CURED)),
    )
    outcome, reason = pl.lit(str(Outcome.VALID)), pl.lit(None, pl.String)
    for condition, decision, why in reversed(cases):
        outcome = pl.when(condition).then(pl.lit(str(decision))).otherwise(outcome)
        reason = pl.when(condition).then(why).otherwise(reason)
    return outcome.alias(OUTCOME), reason.alias(REASON)


def _is_known() -> pl.Expr:
    """Tell whether a remedy knows the record's code, and each of them where it has several."""
    one = f"(?:{'|'.join(REMEDIES)})"
    return pl.col(CODE).is_in(list(REMEDIES)) & pl.col(CODES).str.contains(f"^{one}(?:,{one})*$").fill_null(
        value=True
    )


def _is_answered(context: RepairContext, records: pl.DataFrame) -> pl.Expr:
    """Tell whether all that Stripe refused, if anything, was changed, waits for its time, or has been cured.

    What somebody has mended by hand is answered, whatever he changed: he knows.
    """
    mended = pl.col(MENDED)
    answers = {code: mended.str.contains(f"{remedy.aspect} ") for code, remedy in REMEDIES.items()}
    answers[MALFORMED_RECORD] = mended != ""
    if context.catalog.live:
        outside = (code for code, remedy in REMEDIES.items() if remedy.cause_outside)
        answers |= {code: pl.lit(value=True) for code in outside if context.standard.can_check(code)}
    answered = [~stated(code, records) | answer | (pl.col(_WAITING) == code) for code, answer in answers.items()]
    answers_all = pl.all_horizontal(*answered).fill_null(value=False) | pl.col(MENDED_BY_HAND).is_not_null()
    return pl.col(CODE).is_null() | (_is_known() & answers_all)


def _advised(decided: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Add `SUGGESTION`: the advice of the remedy of the code that keeps a record in quarantine."""
    reason = pl.col(REASON)
    adviser = pl.when(reason.is_in([UNKNOWN_CODE, NO_FAULT_FOUND])).then(reason).otherwise(code_of(reason))
    stopped = decided.filter(pl.col(OUTCOME) == Outcome.QUARANTINED).with_columns(adviser.alias(_ADVISER))
    advised = [
        rows.select(PLACE, _advice(str(name), rows, context).alias(SUGGESTION))
        for (name,), rows in stopped.partition_by(_ADVISER, as_dict=True, maintain_order=True).items()
    ]
    table = pl.concat([pl.DataFrame(schema={PLACE: decided.schema[PLACE], SUGGESTION: pl.String}), *advised])
    return decided.drop(SUGGESTION, strict=False).join(table, on=PLACE, how="left", maintain_order="left")


def _advice(adviser: str, rows: pl.DataFrame, context: RepairContext) -> pl.Series | pl.Expr:
    if adviser == UNKNOWN_CODE:
        return pl.when(pl.col(CODE) == ALREADY_EXISTS).then(pl.lit(_HELD)).otherwise(pl.lit(_CODE_IS_NEW))
    if adviser == NO_FAULT_FOUND:
        return pl.lit(_TELLS_NOTHING)
    remedy = REMEDIES[adviser]
    _, step = remedy.reason.clauses
    return remedy.advise(rows, context).fill_null(step) if remedy.advise else pl.lit(step)
