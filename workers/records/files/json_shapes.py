"""Reading JSON records of one shape at once: the shape of one line becomes a regular expression for its likes.

Machines write usage in a few shapes: the same keys, in the same order, with the same blanks. A shape takes the
values out of every such line, as text, without any number ever being a number. polars' own JSON reader does not do:
it turns `0.10` into `0.1`, `1e3` into `1000`, and keeps the first of two equal keys.

What no shape fits goes through a Python loop (`json_record`): nested values beyond the payload, repeated keys,
broken lines, and shapes met after the first `MAX_SHAPES`.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from workers.records.files.json_record import NotARecord, members_of
from workers.records.schema import ROW

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


def shape_of(line: str, *, ascii_only: bool, nested: Container[str] = ()) -> Shape | None:
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
