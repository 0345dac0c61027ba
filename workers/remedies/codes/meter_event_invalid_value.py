"""`meter_event_invalid_value`: the value is no number to Stripe (Stripe docs, "Record usage in bulk").

Alone: the text has exactly one reading (`records.quantities` says which have), and a fraction of zeros goes where
Stripe itself refused the value: whole numbers are what its documentation names. A reading that takes a mark
otherwise than the rest of the sender's file does (`records.notation`) is none, not even that of a plain decimal. By
rule: what the marks mean, and units.
"""

import polars as pl

from workers.kernel.code_reasons import CODE_REASONS
from workers.kernel.reasons import VALUE_OF_OTHER_NOTATION
from workers.records import quantities
from workers.records.catalog import VALUE_TEXT
from workers.records.notation import COMMA_SHOWN, POINT_SHOWN
from workers.records.schema import EVENT_NAME, VALUE_READ
from workers.records.validation import fault_column
from workers.remedies.remedy import HOW, Remedy, RepairContext, offer
from workers.remedies.rules import Rules


def mend(rows: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Put the plain decimal that the text means."""
    read = _readings(rows, context.rules)
    text = pl.col(VALUE_TEXT)
    other_notation = pl.col(fault_column("value")).eq_missing(pl.lit(VALUE_OF_OTHER_NOTATION))
    ruled, odd = pl.lit(read["ruled"]), ~quantities.is_plain(text) | other_notation
    mended = offer(
        rows,
        VALUE_TEXT,
        ("notation_rule", pl.when(ruled & odd).then(pl.lit(read["reading"]))),
        ("reading", pl.when(odd).then(pl.lit(read["reading"]))),
        ("point_zero", pl.when(~odd).then(quantities.strip_point_zero(text))),
    )
    return mended.with_columns(
        pl.when(pl.col(HOW).is_not_null()).then(pl.lit("yes")).otherwise(VALUE_READ).alias(VALUE_READ)
    )


def advise(rows: pl.DataFrame, context: RepairContext) -> pl.Series:
    """Say what keeps the text from being read."""
    return _readings(rows, context.rules)["doubt"]


def _readings(rows: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Return `reading`, `doubt` and `ruled` for each record, each distinct text of a notation being read once."""
    names = rows[EVENT_NAME].unique().to_list()
    notations = {name: rules.notation_of(name) for name in names}
    numbers = {notation: number for number, notation in enumerate(dict.fromkeys(notations.values()))}
    keys = pl.DataFrame(
        {EVENT_NAME: names, "notation": [numbers[notations[name]] for name in names]},
        schema={EVENT_NAME: pl.String, "notation": pl.Int64},
    )
    texts = rows.select(EVENT_NAME, COMMA_SHOWN, POINT_SHOWN, pl.col(VALUE_TEXT).alias("text")).join(
        keys, on=EVENT_NAME, how="left", nulls_equal=True, maintain_order="left"
    )
    tables = [
        quantities.read_distinct(texts.filter(notation=number)["text"], notation).with_columns(
            pl.lit(number, pl.Int64).alias("notation"),
            pl.lit(notation != quantities.ORDINARY).alias("ruled"),
            pl.lit(notation.decimal_mark is not None).alias("declared"),
        )
        for notation, number in numbers.items()
    ]
    return _weighed(texts.join(pl.concat(tables), on=["notation", "text"], how="left", maintain_order="left"))


def _weighed(read: pl.DataFrame) -> pl.DataFrame:
    """Take back what was read by a mark that the rest of the file uses otherwise, and say so; a rule stands."""
    mark = pl.col("mark")
    against = pl.when(mark == ".").then(COMMA_SHOWN).when(mark == ",").then(POINT_SHOWN)
    shown = pl.when(~pl.col("declared")).then(against)
    doubt = pl.format(
        "{} would be {}, but the same file writes {}: say what its marks mean (rules decimal_comma, thousands)",
        "text",
        "reading",
        shown,
    )
    return read.with_columns(
        pl.when(shown.is_null()).then("reading").alias("reading"), pl.coalesce(doubt, "doubt").alias("doubt")
    )


INVALID_VALUE = Remedy(
    "meter_event_invalid_value",
    "value",
    CODE_REASONS["meter_event_invalid_value"],
    mend,
    advise,
    shown_in=VALUE_TEXT,
)
