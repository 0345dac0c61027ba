"""Remedies applied to faulty records until each is clean or stuck.

A record can have a fault in each aspect, and mending one can show another: an alias leads to an unknown customer.
So the aspects are treated in their order (the meter first, since it says which columns are the customer's and the
value's), and within an aspect in rounds: the remedy of the fault is applied, what changed is judged again by the
same diagnosis, and what did not change is stuck. A change is found by comparing before and after, not by asking
the remedy.
"""

from typing import Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD, Code
from workers.kernel.reasons import VALUE_OF_OTHER_NOTATION
from workers.records.files.nested import PAYLOAD_TEXT
from workers.records.schema import CHANGES, CODE, CODES, READ_FROM, original_columns, with_columns_of
from workers.records.validation import ASPECTS, fault_column
from workers.remedies.codes import REMEDIES
from workers.remedies.remedy import HOW, RepairContext

PLACE: Final = "@place"
"""Place of a record in the frame that is repaired, from 0: rows need not be unique, since sources can be mixed."""
FAULTS: Final = "@faults"
"""The slugs of the faults that a record had before treatment, comma-separated, in the order of the aspects."""
MENDED: Final = "@mended"
"""The aspects in which a record was changed, each followed by a blank."""
HOWS: Final = "@hows"
"""The ways in which a record was changed, comma-separated, in order."""

MAX_ROUNDS: Final = 4
"""Remedies that one aspect of a record may need in a row; aliases that lead in a circle end here."""
_TREAT: Final = "@treat"
_PATH: Final = "@path"
_STATED: Final = "@stated_"
"""And an aspect: the code of that aspect which Stripe gave the record, if any."""
_SEVERAL: Final = "several"
_OF_THE_PAYLOAD: Final = "customer value dimension "
_TREATABLE: Final = ASPECTS[1:]
"""What is wrong with a record as such, no remedy mends."""


def treat(judged: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Return judged records as the remedies leave them, in their order, with `CHANGES`, `HOWS` and `MENDED`.

    Most records need treatment in one aspect, and take part in that one only. Those that need more go through all
    aspects; so do those of a wrong meter, since another meter judges everything else anew.
    """
    told_of = [_stated_code(aspect, judged).alias(_STATED + aspect) for aspect in _TREATABLE]
    untreated = judged.with_columns(*_done_while_read(), pl.lit(None, pl.String).alias(HOW), *told_of)
    work = untreated.with_columns(_path().alias(_PATH))
    alike = {str(path): rows for (path,), rows in work.partition_by(_PATH, as_dict=True).items()}
    several = alike.get(_SEVERAL, work.clear())
    treated = []
    for aspect in _TREATABLE:
        together = pl.concat([several, alike.get(aspect, work.clear())], how="diagonal")
        if together.is_empty():
            continue
        rows = _treat_aspect(together, aspect, context)
        several, done = _split(rows, rows[_PATH] == _SEVERAL)
        treated.append(done)
    done = pl.concat([*treated, several], how="diagonal").sort(PLACE)
    return done.drop(HOW, _PATH, _TREAT, *(_STATED + aspect for aspect in _TREATABLE), strict=False)


def _done_while_read() -> list[pl.Expr]:
    """Return `MENDED`, `CHANGES` and `HOWS` before any remedy: the reader may have taken a payload apart."""
    read = pl.col(READ_FROM).is_not_null()
    return [
        pl.when(read).then(pl.lit(_OF_THE_PAYLOAD)).otherwise(pl.lit("")).alias(MENDED),
        pl.col(READ_FROM).alias(CHANGES),
        pl.when(read).then(pl.lit(PAYLOAD_TEXT)).alias(HOWS),
    ]


def _path() -> pl.Expr:
    """Return the aspect in which the record needs treatment, `several`, or the last one where it needs none."""
    needs = {
        aspect: pl.any_horizontal(pl.col(fault_column(aspect), _STATED + aspect).is_not_null())
        for aspect in _TREATABLE
    }
    only = pl.coalesce(
        *(pl.when(need).then(pl.lit(aspect)) for aspect, need in needs.items()), pl.lit(_TREATABLE[-1])
    )
    several = needs["meter"] | (pl.sum_horizontal(*needs.values()) > 1)
    return pl.when(several).then(pl.lit(_SEVERAL)).otherwise(only)


def _treat_aspect(work: pl.DataFrame, aspect: str, context: RepairContext) -> pl.DataFrame:
    pending = work.with_columns(pl.coalesce(_fault_code(aspect), _STATED + aspect).alias(_TREAT))
    settled = []
    for _ in range(MAX_ROUNDS):
        pending, sound = _split(pending, pending[_TREAT].is_not_null())
        settled.append(sound)
        if pending.is_empty():
            break
        treated = _apply(pending, aspect, context)
        changed, stuck = _split(treated, treated[HOW].is_not_null())
        settled.append(stuck)
        again = context.standard.judge_again(changed, aspect)
        pending = again.with_columns(_fault_code(aspect).alias(_TREAT), pl.lit(None, pl.String).alias(HOW))
    return pl.concat([*settled, pending], how="diagonal")


def _split(frame: pl.DataFrame, holds: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows for which it holds and the others; copies nothing where one of the two is empty."""
    if holds.all():
        return frame, frame.clear()
    return (frame.filter(holds), frame.filter(~holds)) if holds.any() else (frame.clear(), frame)


def _apply(rows: pl.DataFrame, aspect: str, context: RepairContext) -> pl.DataFrame:
    """Apply to each record the remedy of the code that it is to be treated for."""
    treated = []
    for (code,), alike in rows.partition_by(_TREAT, as_dict=True, maintain_order=True).items():
        mended = context.catalog.write_back(REMEDIES[str(code)].mend(alike, context))
        treated.append(_note_changes(alike, mended, str(code), aspect))
    return pl.concat(treated, how="diagonal")


def _note_changes(before: pl.DataFrame, after: pl.DataFrame, code: str, aspect: str) -> pl.DataFrame:
    """Append each change of a sender's column to `CHANGES`, and make `HOW` null where there is none."""
    columns = original_columns(after.columns)
    before = with_columns_of(before, columns)
    differs = before.select(pl.col(name).ne_missing(pl.lit(after[name])) for name in columns)
    differing = [name for name in columns if differs[name].any()]
    remedy = pl.format("{}.{}", pl.lit(code), pl.col(HOW))
    entries = [
        pl.when(differs[name]).then(
            pl.struct(column=pl.lit(name), before=before[name], after=name, remedy=remedy).struct.json_encode()
        )
        for name in differing
    ]  # fmt: skip
    changed = pl.any_horizontal(pl.lit(value=False), *(pl.lit(differs[name]) for name in differing))
    listed = pl.concat_str(CHANGES, *entries, separator=",", ignore_nulls=True).replace("", None)
    return after.with_columns(
        listed.alias(CHANGES) if entries else CHANGES,
        pl.when(changed).then(HOW).alias(HOW),
        pl.when(changed)
        .then(pl.concat_str(HOWS, HOW, separator=",", ignore_nulls=True))
        .otherwise(HOWS)
        .alias(HOWS),
        pl.when(changed).then(pl.col(MENDED) + f"{aspect} ").otherwise(MENDED).alias(MENDED),
    )


def stated(code: str, records: pl.DataFrame) -> pl.Expr:
    """Tell whether Stripe gave one of the records this code, alone or among several."""
    alone = (pl.col(CODE) == code).fill_null(value=False)
    if not _has_several(records):
        return alone
    several = pl.concat_str(pl.lit(","), CODES, pl.lit(",")).str.contains(f",{code},", literal=True)
    return alone | several.fill_null(value=False)


def _stated_code(aspect: str, records: pl.DataFrame) -> pl.Expr:
    """Return Stripe's code where it is one of the aspect's; one of them where it gave several."""
    codes = [code for code, remedy in REMEDIES.items() if remedy.aspect == aspect]
    alone = pl.when(pl.col(CODE).is_in(codes)).then(CODE)
    if not _has_several(records):
        return alone
    return pl.coalesce(alone, *(pl.when(stated(code, records)).then(pl.lit(code)) for code in codes))


def _has_several(records: pl.DataFrame) -> bool:
    """Tell whether Stripe gave any of the records several codes; it seldom does."""
    return records[CODES].null_count() < records.height


def _fault_code(aspect: str) -> pl.Expr:
    return code_of(pl.col(fault_column(aspect)))


def code_of(slug: pl.Expr) -> pl.Expr:
    """Return the code whose remedy treats a fault: its own where Stripe has one, else `malformed_record`.

    A quantity in another notation is treated as one that is no number.
    """
    return (
        pl.when(slug.is_in(list(REMEDIES)))
        .then(slug)
        .when(slug == VALUE_OF_OTHER_NOTATION)
        .then(pl.lit(str(Code.INVALID_VALUE)))
        .when(slug.is_not_null())
        .then(pl.lit(MALFORMED_RECORD))
    )
