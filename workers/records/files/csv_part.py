"""One part of a CSV file as a canonical frame."""

from collections.abc import Sequence
from itertools import compress

import polars as pl
from polars.exceptions import PolarsError

from workers.records.files.csv_grammar import MISREAD, CsvGrammar, OddLines, OddRecord, lines_of
from workers.records.files.json_record import NotARecord, Row, frame_of
from workers.records.files.layout import Part
from workers.records.files.nested import Nesting
from workers.records.schema import RAW, ROW, UNREADABLE, with_columns_of


class CsvReader:
    """Reads parts of one CSV file whose header is known. `columns` are the frame's names, one per field."""

    def __init__(self, delimiter: str, columns: Sequence[str], nesting: Nesting) -> None:
        self.grammar = CsvGrammar(delimiter, len(columns))
        self.columns = list(columns)
        self.nesting = nesting

    def read(self, data: bytes, part: Part, wanted: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the part's rows with `wanted` of the columns (all if None), `ROW`, `UNREADABLE` and `RAW`.

        Where the file has none of them the rows come with its first column: a frame without columns has no rows.
        """
        if self.nesting.columns:
            return self._spread(self._as_it_stands(data, part, self.columns))
        return self._as_it_stands(data, part, self._present(wanted))

    def _as_it_stands(self, data: bytes, part: Part, columns: list[str]) -> pl.DataFrame:
        if part.plain:
            frame = self._plain(data, columns)
            if frame is not None and frame.height == part.rows:
                rows = pl.int_range(part.first_row, part.first_row + part.rows, eager=True)
                return with_columns_of(frame.with_columns(rows.alias(ROW)), (UNREADABLE, RAW))
        return self._careful(data if data.endswith(b"\n") else data + b"\n", part.first_row, columns)

    def _spread(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Put what stands inside the cells beside them, record by record."""
        nested = frame.select(pl.any_horizontal(pl.col(*self.nesting.columns).is_not_null())).to_series()
        rows = frame.filter(nested).select(ROW, *self.columns).iter_rows(named=True)
        spread = [self._spread_row(cells.pop(ROW), cells) for cells in rows]
        return pl.concat([frame.filter(~nested), frame_of(spread)], how="diagonal").sort(ROW)

    def _spread_row(self, row: int, cells: dict[str, str | None]) -> Row:
        text = next(filter(None, (cells[name] for name in self.nesting.columns)), "")
        try:
            return row, text, self.nesting.spread(cells)
        except NotARecord as error:
            return row, text, {UNREADABLE: error.reason, RAW: text}

    def scan(self, data: bytes, part: Part, wanted: Sequence[str] | None = None) -> pl.LazyFrame | None:
        """Return what `read` does for a plain part, to be read as it is worked on; None where polars misreads it.

        Polars may refuse the data in the middle. That it finds `part.rows` rows, the caller has to see.
        """
        if data.startswith(MISREAD):
            return None
        columns = self._present(wanted)
        lines = self._scan(data).with_row_index(ROW, part.first_row)
        may_be_empty = b'"' in data
        present = (pl.when(pl.col(name) != "").then(name) if may_be_empty else name for name in columns)
        return lines.select(
            *present,
            pl.col(ROW).cast(pl.Int64),
            *(pl.lit(None, pl.String).alias(name) for name in (UNREADABLE, RAW)),
        )

    def _scan(self, data: bytes) -> pl.LazyFrame:
        schema = dict.fromkeys(self.columns, pl.String)
        return pl.scan_csv(data, has_header=False, schema=schema, separator=self.grammar.delimiter)

    def _present(self, wanted: Sequence[str] | None) -> list[str]:
        if wanted is None:
            return self.columns
        return [name for name in self.columns if name in wanted] or self.columns[:1]

    def _plain(self, data: bytes, columns: list[str]) -> pl.DataFrame | None:
        """Let polars read regular lines; None where it refuses them."""
        if not data or data.startswith(MISREAD):
            # polars refuses no data, and here it is text, whatever it begins with
            frame = self._plain(
                b"-" + self.grammar.delimiter.encode() * (len(self.columns) - 1) + b"\n" + data, columns
            )
            return None if frame is None else frame[1:]
        try:
            frame = self._scan(data).select(columns).collect()
        except PolarsError:
            return None
        if b'"' not in data:
            return frame
        quoted_empty = frame.select((pl.all() == "").any()).row(0)  # such a field is as absent as a bare one
        return frame.with_columns(
            pl.when(pl.col(name) != "").then(name) for name in compress(columns, quoted_empty)
        )

    def _careful(self, data: bytes, first_row: int, columns: list[str]) -> pl.DataFrame:
        """Read regular lines by polars and the odd ones by Python's csv, each with its exact row number."""
        lines = lines_of(data)
        regular = self.grammar.regular(lines)
        frame = self._settled(data, lines, regular, first_row, columns)
        if frame is None:
            frame = self._settled(data, lines, pl.repeat(False, len(lines), eager=True), first_row, columns)
        assert frame is not None
        return frame

    def _settled(
        self, data: bytes, lines: pl.Series, regular: pl.Series, first_row: int, columns: list[str]
    ) -> pl.DataFrame | None:
        settler = OddLines(data, self.grammar)
        odd, _ = settler.settle((~regular).arg_true().to_list(), final=True)
        whole, rows = _numbered(regular, odd, first_row)
        kept = lines.filter(whole)
        frame = self._plain((kept.str.join("\n").item() or "").encode(), columns)
        if frame is None or frame.height != len(kept):
            return None
        good = with_columns_of(frame.with_columns(rows.filter(whole).alias(ROW)), (UNREADABLE, RAW))
        return pl.concat([good, self._odd_frame(odd, rows, settler, columns)]).sort(ROW)

    def _odd_frame(
        self, odd: list[OddRecord], rows: pl.Series, settler: OddLines, columns: list[str]
    ) -> pl.DataFrame:
        at = [self.columns.index(name) for name in columns]
        cells: list[list[str | None]] = []
        for record in odd:
            if isinstance(record.found, list):
                cells.append([*(record.found[index] or None for index in at), None, None])
            elif record.found:
                raw = settler.text(record.line, record.lines).decode(errors="backslashreplace")
                cells.append([*(None for _ in at), record.found, raw])
        schema = dict.fromkeys((*columns, UNREADABLE, RAW), pl.String)
        numbers = rows.gather([record.line for record in odd if record.found])
        return pl.DataFrame(cells, schema=schema, orient="row").insert_column(len(at), numbers.alias(ROW))


def _numbered(regular: pl.Series, odd: list[OddRecord], first_row: int) -> tuple[pl.Series, pl.Series]:
    """Return which lines are whole regular records, and per line the number of the record that it belongs to."""
    spanned = [line for record in odd for line in range(record.line, record.line + record.lines)]
    opening = [record.line for record in odd if record.found]
    whole, begins = regular.clone(), regular.clone()  # scatter works in place
    whole.scatter(spanned, values=False)
    begins.scatter(spanned, values=False)
    begins.scatter(opening, values=True)
    return whole, begins.cast(pl.Int64).cum_sum() + (first_row - 1)
