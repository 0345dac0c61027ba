"""What a record says but for its identifier, as one text: all else that Stripe bills by."""

from collections.abc import Callable, Sequence

import polars as pl

from workers.records.schema import EVENT_NAME, IDENTIFIER, TIMESTAMP, payload_columns


def content(columns: Sequence[str], shown: Callable[[pl.Expr], pl.Expr] = lambda cell: cell) -> pl.Expr:
    """Return one text for time, event name and payload; equal for equal records only.

    `columns` are the frame's, of which those that Stripe does not bill by do not matter. Blank cells say nothing.
    `shown` is how a cell is taken.
    """
    billed = [TIMESTAMP, EVENT_NAME, *sorted(payload_columns(list(columns)))]
    cells = [
        pl.when(cell.str.strip_chars() != "").then(pl.format("{}={}:{};", pl.lit(name), cell.str.len_bytes(), cell))
        for name, cell in ((name, shown(pl.col(name))) for name in billed)
    ]
    return pl.concat_str(cells, ignore_nulls=True)


def is_nameless() -> pl.Expr:
    """Tell whether the record has no identifier."""
    return (pl.col(IDENTIFIER).str.strip_chars() == "").fill_null(value=True)
