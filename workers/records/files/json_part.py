"""One part of a JSON Lines file as a canonical frame. A JSON array is read as the lines it was split into."""

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from workers.records.files.csv_grammar import lines_of
from workers.records.files.json_record import NotARecord, Row, frame_of, parse_record
from workers.records.files.json_shapes import MAX_SHAPES, shape_of
from workers.records.files.layout import Part, Unreadable
from workers.records.files.nested import Nesting
from workers.records.schema import RAW, ROW, UNREADABLE

JSON_BLANKS: Final = " \t\r\n"
BLANKS: Final = JSON_BLANKS.encode()


def blank_lines(lines: pl.Series) -> pl.Series | None:
    """Tell which lines are blank; None when none is."""
    blank = (lines.str.strip_chars(JSON_BLANKS) == "").fill_null(value=False)
    return blank if blank.any() else None


class JsonReader:
    """Reads parts of one JSON Lines file. `renames` are top-level keys whose one reading is a canonical column."""

    def __init__(self, renames: Mapping[str, str], nesting: Nesting) -> None:
        self.renames = renames
        self.nesting = nesting

    def read(
        self, data: bytes, part: Part, wanted: Sequence[str] | None = None, *, cut: bool = False
    ) -> pl.DataFrame:
        """Return the part's rows with `wanted` of the columns (all if None), `ROW`, `UNREADABLE` and `RAW`.

        `cut` says that the file ends in the middle of a line, at the end of this part.
        """
        lines = lines_of(data)
        blank = None if part.plain else blank_lines(lines)
        if blank is not None:
            lines = lines.filter(~blank)
        numbered = pl.DataFrame(
            {"line": lines, ROW: pl.int_range(part.first_row, part.first_row + len(lines), eager=True)}
        )
        needed = None if wanted is None else self._with_sources(wanted)
        frames, odd = self._by_shapes(numbered, needed, ascii_only=data.isascii(), escapes=b"\\" in data)
        if odd.height:
            raw = (
                None
                if odd["line"].null_count() == 0
                else [text for text in data.split(b"\n") if text.strip(BLANKS)]
            )
            frames.append(self._odd_frame(odd, needed, raw, part, cut=cut))
        frame = pl.concat(frames, how="diagonal") if frames else pl.DataFrame(schema={ROW: pl.Int64})
        return self._renamed(frame.sort(ROW) if len(frames) > 1 else frame)

    def _with_sources(self, wanted: Sequence[str]) -> list[str]:
        return [*wanted, *(old for old, new in self.renames.items() if new in wanted)]

    def _renamed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Move each renamed key's value to its canonical column where that has none."""
        present = set(frame.columns)
        for old, new in self.renames.items():
            if old not in present:
                continue
            if new not in frame.columns:
                frame = frame.rename({old: new})
                continue
            left = frame.select(pl.when(pl.col(new).is_not_null()).then(old)).to_series()
            frame = frame.with_columns(pl.coalesce(new, old).alias(new), left.alias(old))
            frame = frame if left.count() else frame.drop(old)
        return frame

    def _by_shapes(
        self, lines: pl.DataFrame, wanted: Sequence[str] | None, *, ascii_only: bool, escapes: bool
    ) -> tuple[list[pl.DataFrame], pl.DataFrame]:
        """Read what shapes can read; the rest are the lines for the Python loop."""
        frames: list[pl.DataFrame] = []
        shapeless: list[pl.DataFrame] = []
        for _ in range(MAX_SHAPES):
            if not lines.height:
                break
            first = lines["line"][0]
            shape = None if first is None else shape_of(first, ascii_only=ascii_only, nested=self.nesting.columns)
            if shape is None:
                shapeless.append(lines[:1])
                lines = lines[1:]
                continue
            found, rest = shape.extract(lines, wanted, escapes=escapes)
            if not found.height or found[ROW][0] != lines[ROW][0]:
                shapeless.append(lines[:1])
                lines = lines[1:]
                continue
            frames.append(found)
            lines = rest
        return frames, pl.concat([*shapeless, lines])

    def _odd_frame(
        self, odd: pl.DataFrame, wanted: Sequence[str] | None, raw: list[bytes] | None, part: Part, *, cut: bool
    ) -> pl.DataFrame:
        """Read the lines that fit no shape one by one in Python."""
        cells: list[Row] = []
        last_row = part.first_row + part.rows - 1
        for row, line in odd.select(ROW, "line").iter_rows():
            text = line if line is not None else _undecodable(raw, row - part.first_row)
            record = self._record_or_reason(line, text)
            if cut and row == last_row and record.get(UNREADABLE) == Unreadable.NOT_JSON:
                record[UNREADABLE] = Unreadable.CUT_LINE
            cells.append((row, text, record))
        return frame_of(cells, wanted)

    def _record_or_reason(self, line: str | None, text: str) -> dict[str, str | None]:
        if line is None:
            return {UNREADABLE: Unreadable.NOT_UTF8, RAW: text}
        try:
            return self.nesting.spread(parse_record(line))
        except NotARecord as error:
            return {UNREADABLE: error.reason, RAW: text}


def _undecodable(raw: list[bytes] | None, index: int) -> str:
    assert raw is not None
    return raw[index].decode(errors="backslashreplace")
