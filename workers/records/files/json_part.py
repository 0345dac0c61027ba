"""One part of a JSON Lines file as a canonical frame. A JSON array is read as the lines it was split into.

Machines write usage in a few shapes: the same keys, in the same order, with the same blanks. The shape of one line
becomes a regular expression that takes the values out of all its likes at once, as text, without any number ever
being a number. What no shape fits goes through a Python loop (`json_record`): nested values beyond the payload,
repeated keys, broken lines, and shapes met after the first `MAX_SHAPES`.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from workers.records.files.csv_grammar import lines_of
from workers.records.files.json_record import NotARecord, Row, frame_of, members_of, parse_record
from workers.records.files.layout import Part, Unreadable
from workers.records.files.nested import Nesting
from workers.records.schema import RAW, ROW, UNREADABLE

JSON_BLANKS: Final = " \t\r\n"
BLANKS: Final = JSON_BLANKS.encode()
MAX_SHAPES: Final = 12
"""Distinct shapes tried per part, most frequent early; beyond it a Python loop costs about 10 µs a record."""
MAX_MEMBERS: Final = 40
"""A shape of more members is too large an automaton."""

ESCAPES: Final = (
    r'^(?:[^\\]|\\["\\/bfnrt]'
    r"|\\u(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}"
    r"|[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}))*$"
)
"""A string whose escapes are all JSON's and give whole characters. It is tested apart from the shape and only where
there is a backslash: within the shape it would cost the regular expression its one pass and five times the time."""
ASCII_STRING: Final = r"(?:[ !#-\[\]-\x7f]|\\[ -\x7f])*"
ANY_STRING: Final = r'(?:[^"\\\x00-\x1f]|\\[ -\x7f])*'
NUMBER: Final = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false"
MATCHED: Final = "@matched"


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
        sources = (old for old, new in self.renames.items() if wanted is not None and new in wanted)
        needed = None if wanted is None else [*wanted, *sources]
        frames, odd = self._by_shapes(numbered, needed, ascii_only=data.isascii(), escapes=b"\\" in data)
        if odd.height:
            frames.append(self._odd_frame(odd, needed, data, part, cut=cut))
        frame = pl.concat(frames, how="diagonal") if frames else pl.DataFrame(schema={ROW: pl.Int64})
        return self._renamed(frame.sort(ROW) if len(frames) > 1 else frame)

    def _renamed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Move each renamed key's value to its canonical column where that has none."""
        for old in [old for old in self.renames if old in frame.columns]:
            new = self.renames[old]
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
            shape = None if first is None else shape_of(first, self.nesting.columns, ascii_only=ascii_only)
            found, rest = shape.extract(lines, wanted, escapes=escapes) if shape else (lines.clear(), lines)
            if found.height and found[ROW][0] == lines[ROW][0]:
                frames.append(found)
                lines = rest
            else:
                shapeless.append(lines[:1])
                lines = lines[1:]
        return frames, pl.concat([*shapeless, lines])

    def _odd_frame(
        self, odd: pl.DataFrame, wanted: Sequence[str] | None, data: bytes, part: Part, *, cut: bool
    ) -> pl.DataFrame:
        """Read the lines that fit no shape one by one in Python."""
        undecodable = odd["line"].null_count() > 0
        raw = [text for text in data.split(b"\n") if text.strip(BLANKS)] if undecodable else []
        cells: list[Row] = []
        last_row = part.first_row + part.rows - 1
        for row, line in odd.select(ROW, "line").iter_rows():
            text = raw[row - part.first_row].decode(errors="backslashreplace") if line is None else line
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


@dataclass(frozen=True)
class Shape:
    """A regular expression for the lines of one shape and the columns that its groups give."""

    pattern: str
    columns: tuple[str, ...]

    def extract(
        self, lines: pl.DataFrame, wanted: Sequence[str] | None, *, escapes: bool
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Split a frame of `ROW` and `line`: the values of the lines of this shape, and the other lines.

        `escapes` says that there is a backslash in some line.
        """
        groups = pl.col("line").str.extract_groups(self.pattern).struct.rename_fields([*self.columns, MATCHED])
        fields = lines.select(ROW, groups).unnest("line")
        escaped = _with_backslash(fields, self.columns) if escapes else []
        hit = fields[MATCHED].is_not_null()
        for name in escaped:
            hit &= fields[name].str.contains(ESCAPES).fill_null(value=True)
        kept = [name for name in self.columns if wanted is None or name in wanted]
        found, rest = fields.select(ROW, *kept), lines.clear()
        if not hit.all():
            found, rest = found.filter(hit), lines.filter(~hit)
        return found.with_columns(_unescape(pl.col(name)).alias(name) for name in kept if name in escaped), rest


def _with_backslash(fields: pl.DataFrame, columns: Sequence[str]) -> list[str]:
    found = fields.select(pl.col(columns).str.contains("\\", literal=True).any()).row(0)
    return [name for name, any_escape in zip(columns, found, strict=True) if any_escape]


def _unescape(cell: pl.Expr) -> pl.Expr:
    quoted = pl.when(cell.str.contains("\\", literal=True)).then('"' + cell + '"')
    return pl.coalesce(quoted.str.json_decode(pl.String), cell)


def shape_of(line: str, nested: Container[str], *, ascii_only: bool) -> Shape | None:
    """Return the shape of the line, or None where only the Python loop can read it.

    So it is with the `nested` columns, whose text is looked into.
    """
    try:
        members = members_of(line)
    except NotARecord:
        return None
    columns = tuple(member.column for member in members)
    if not members or len(members) > MAX_MEMBERS or len(set(columns)) < len(columns):
        return None
    if any(member.kind == "nested" or member.column in nested for member in members):
        return None
    string = ASCII_STRING if ascii_only else ANY_STRING
    slots = {"string": f'(?:"({string})"|null)', "null": f'(?:"({string})"|null)', "number": f"(?:({NUMBER})|null)"}
    pattern, at = "^", 0
    for member in members:
        pattern += pl.escape_regex(line[at : member.start]) + slots[member.kind]
        at = member.end
    return Shape(pattern + pl.escape_regex(line[at:]) + "()$", columns)
