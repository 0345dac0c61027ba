"""`meter_event_invalid_value`: the value is no number to Stripe (Stripe docs, "Record usage in bulk").

Alone: the text has exactly one reading (`records.quantities` says which have), and a fraction of zeros goes where
Stripe itself refused the value: whole numbers are what its documentation names. By rule: the decimal comma, units.
"""

import polars as pl

from workers.kernel.codes import Code
from workers.records import quantities
from workers.records.catalog import VALUE_TEXT
from workers.records.schema import EVENT_NAME
from workers.remedies.remedy import Context, Remedy, offer
from workers.remedies.rules import Rules


def mend(rows: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Put the plain decimal that the text means."""
    read = _readings(rows, context.rules)
    ruled, odd = pl.lit(read["ruled"]), ~quantities.is_plain(pl.col(VALUE_TEXT))
    return offer(
        rows,
        VALUE_TEXT,
        ("notation_rule", pl.when(ruled & odd).then(pl.lit(read["reading"]))),
        ("reading", pl.when(odd).then(pl.lit(read["reading"]))),
        ("point_zero", pl.when(~odd).then(quantities.strip_point_zero(pl.col(VALUE_TEXT)))),
    )


def advise(rows: pl.DataFrame, context: Context) -> pl.Series:
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
    texts = rows.select(EVENT_NAME, pl.col(VALUE_TEXT).alias("text")).join(
        keys, on=EVENT_NAME, how="left", nulls_equal=True, maintain_order="left"
    )
    tables = [
        quantities.read_distinct(texts.filter(notation=number)["text"], notation).with_columns(
            pl.lit(number, pl.Int64).alias("notation"), pl.lit(notation != quantities.ORDINARY).alias("ruled")
        )
        for notation, number in numbers.items()
    ]
    return texts.join(pl.concat(tables), on=["notation", "text"], how="left", maintain_order="left")


INVALID_VALUE = Remedy(Code.INVALID_VALUE, mend, advise)
