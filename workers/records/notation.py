"""Evidence: what only the other rows of a file tell about how one of them is to be read.

- *Marks*: a quantity that can be written with one decimal mark only (`12,5`, `1.234,50` and `12.345.678` with the
  comma, `1,234.50` and `12,345,678` with the point) shows which one its sender uses. Kept for each event name as
  written, and column, with one of the texts that show it; asked for by all names that are repaired to one.
- *Strangers*: a column in which something else stands than the customer's id, on a row that names its customer, is
  no place to look for a customer. Kept as pairs of the customer's column and the other.

Evidence only ever makes a record wait, it never makes one readable. It is found part by part while a file is read,
and travels with the file's records as one text (`schema.EVIDENCE`): a few of them may be judged elsewhere.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import polars as pl

from workers.records.catalog import CUSTOMER_COLUMN, VALUE_COLUMN, folded
from workers.records.quantities import AROUND, QUOTES, bare, with_ascii_marks
from workers.records.schema import (
    CUSTOMER,
    EVENT_NAME,
    EVIDENCE,
    MAX_EVENT_NAME_LENGTH,
    PAYLOAD_PREFIX,
    REQUIRED_COLUMNS,
    VALUE,
    Records,
    is_payload,
    original_columns,
    with_columns_of,
)

CUSTOMER_KEYS: Final = frozenset(
    {
        "stripe_customer_id",
        "customer_id",
        "customer",
        "stripe_customer",
        "stripe_id",
        "cus_id",
        "customer_account",
        "account_id",
        "account",
        "stripe_account",
        "stripe_account_id",
    }
)
"""Keys, in lower case, that common usage gives to the customer."""
COMMA_SHOWN: Final = "@comma_shown"
POINT_SHOWN: Final = "@point_shown"
"""Columns that `weigh` adds: a text of the record's file that shows the comma, or the point, as decimal mark."""

_COMMA, _POINT = ",", "."
_ANY_NAME: Final = ""
_MAX_KEPT: Final = 200
"""Columns of event names that evidence is kept apart for; that of more is held against all event names."""
_MAX_RENAMED: Final = 4
"""Rules that rename one name in a row; those that lead in a circle end here."""
_SHOWN_LENGTH: Final = 40
_ID: Final = r"^(cus|acct)_"
_PADDING: Final = AROUND + QUOTES
_TO_LOOK_AT: Final = r"\d[,'\u2019\uff0c\u066b\u066c]\d|\d\s\d{3}|[.\uff0e]\d{3}[.\uff0e]"
"""What every text has that shows a decimal mark: it spares most texts the dearer patterns."""
_BEFORE: Final = r"(?:^\s*|[^\d\s.,:']\s*|\pL(?:\.|,\s+)|[.:]\s+|(?:^|\D)[:']\s*)"
"""What may stand before a number: nothing, a sign, or a word with its point or colon (`ca. 12,5`, `Fr.12,5`)."""
_BEHIND: Final = r"[\s.,:']*(?:$|[^\d\s.,:'])"
"""What may stand behind it: anything, but no digits with marks, colons or blanks alone between."""
_SHOWS: Final = {
    _COMMA: (
        r"\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?",
        r"\d{1,3}(?:[. ']\d{3})+,\d+",
        r"(?:\d+\s+)?\d+,(?:\d{1,2}|\d{4,})",
        r"(?:0\d*|\d{4,}),\d+",
    ),
    _POINT: (
        r"\d{1,3}(?:,\d{3}){2,}(?:\.\d+)?",
        r"\d{1,3}(?:[, ']\d{3})+\.\d+",
    ),
}  # fmt: skip
"""The forms of numbers that can be written with this decimal mark only.

They show it also in a text that has no reading itself, such as `ca. 12,5` or `1,5 / 2`.
"""
_SHOWS_PATTERN: Final = {mark: f"{_BEFORE}(?:{'|'.join(forms)}){_BEHIND}" for mark, forms in _SHOWS.items()}

Marks = Mapping[str, Mapping[str, Mapping[str, str]]]


@dataclass(frozen=True)
class Evidence:
    """What was found in a file: `marks` by event name, column and decimal mark, and the `strangers`."""

    marks: Marks = field(default_factory=dict)
    strangers: frozenset[tuple[str, str]] = frozenset()

    def __add__(self, other: "Evidence") -> "Evidence":
        found = [(name, of_name) for marks in (self.marks, other.marks) for name, of_name in marks.items()]
        kept = {(name, column) for name, of_name in found for column in of_name}
        if len(kept) > _MAX_KEPT or any(name == _ANY_NAME for name, _ in found):
            found = [(_ANY_NAME, of_name) for _, of_name in found]
        return Evidence(_joined(found), self.strangers | other.strangers)

    @classmethod
    def of_text(cls, text: str) -> "Evidence":
        """Read what `text` wrote."""
        document = json.loads(text)
        return cls(document["marks"], frozenset((ours, other) for ours, other in document["strangers"]))

    @cached_property
    def text(self) -> str | None:
        """The evidence as JSON, the same for any order in which it was found; null where there is none."""
        if not self.marks and not self.strangers:
            return None
        document = {"marks": self.marks, "strangers": sorted(self.strangers)}
        return json.dumps(document, sort_keys=True, ensure_ascii=False)

    def by_meter(self, meant: Mapping[str, str]) -> "Evidence":
        """Return the evidence by what its event names are meant for (`_meant`); a blank name is meant for none."""
        named = ((meant[name], of_name) for name, of_name in self.marks.items() if meant[name] or name == _ANY_NAME)
        return Evidence(_joined(named), self.strangers)

    def shown(self, event_name: str | None, columns: Iterable[str]) -> dict[str, str]:
        """Return the decimal marks that are shown in these columns of the event name's records, each by a text."""
        names = [self.marks.get(name, {}) for name in (_ANY_NAME, event_name or _ANY_NAME)]
        return {
            mark: text for of_name in names for column in columns for mark, text in of_name.get(column, {}).items()
        }


class EvidenceScan:
    """What is looked at in each part of a file, as expressions, so that it can be done while the part is read.

    `numbers` are the columns in which quantities may stand, `customers` those that meters may read customers from,
    and `others` those that common usage gives to the customer.
    """

    def __init__(self, numbers: Sequence[str], customers: Sequence[str], others: Sequence[str]) -> None:
        self._numbers = numbers
        self._pairs = [(ours, other) for ours in customers for other in others if ours != other]

    @property
    def needs(self) -> list[str]:
        """The columns that the expressions read."""
        return list(dict.fromkeys([EVENT_NAME, *self._numbers, *(name for pair in self._pairs for name in pair)]))

    @property
    def expressions(self) -> list[pl.Expr]:
        """What is to be selected of a part's records, for `found`."""
        marked = [pl.when(pl.col(name).str.contains(_TO_LOOK_AT)).then(name) for name in self._numbers]
        names = pl.when(pl.any_horizontal(pl.lit(value=False), *(text.is_not_null() for text in marked))).then(
            EVENT_NAME
        )
        return [
            names.alias(_seen(EVENT_NAME)),
            *(text.alias(_seen(name)) for text, name in zip(marked, self._numbers, strict=True)),
            *(_differ(*pair).any().alias(_pair(*pair)) for pair in self._pairs),
        ]

    def found(self, seen: pl.DataFrame) -> Evidence:
        """Return the evidence in the records of which `expressions` were selected."""
        strangers = frozenset(pair for pair in self._pairs if seen.height and seen[_pair(*pair)][0])
        return sum((_marks_of(seen, name) for name in self._numbers), Evidence(strangers=strangers))


def _joined(found: Iterable[tuple[str, Mapping[str, Mapping[str, str]]]]) -> Marks:
    """Return what was found under each event name; of several texts that show the same, the alphabet's first."""
    marks: dict[str, dict[str, dict[str, str]]] = {}
    for name, of_name in found:
        for column, shown in of_name.items():
            of_column = marks.setdefault(name, {}).setdefault(column, {})
            of_column.update({mark: min(text, of_column.get(mark, text)) for mark, text in shown.items()})
    return marks


def look_at(columns: Sequence[str], customers: Iterable[str]) -> EvidenceScan:
    """Return what to look at in a file with these columns, where meters read customers from `customers`."""
    present = [name for name in original_columns(list(columns)) if name not in REQUIRED_COLUMNS]
    named = [name for name in dict.fromkeys((CUSTOMER, *customers)) if name in present]
    return EvidenceScan([name for name in present if name != CUSTOMER], named, customer_like(present, named))


def evidence_in(frame: pl.DataFrame) -> Evidence:
    """Return the evidence in records whose meters are not known: any payload key may be the customer's."""
    payload = [name for name in original_columns(frame.columns) if is_payload(name)]
    holds_ids = frame.select(_bare(name).str.contains(_ID).any() for name in payload)
    look = look_at(frame.columns, [name for name in payload if holds_ids[name][0]])
    return look.found(frame.select(look.expressions))


def customer_like(columns: Iterable[str], customers: Iterable[str]) -> list[str]:
    """Return those of the columns that common usage, or a meter that reads `customers`, gives to the customer."""
    keys = CUSTOMER_KEYS.union(map(_key, customers))
    return [name for name in columns if _key(name) in keys]


def weigh(records: pl.DataFrame, quantity_columns: Iterable[str], renamed: Mapping[str, str]) -> pl.DataFrame:
    """Add `COMMA_SHOWN` and `POINT_SHOWN` to resolved records, which keep what an earlier event name of theirs had.

    `quantity_columns` are those that a quantity may be taken from, beside the one that the meter reads, and
    `renamed` the event names that rules change to another.
    """
    records = with_columns_of(records, (EVIDENCE, COMMA_SHOWN, POINT_SHOWN))
    key = [EVIDENCE, EVENT_NAME, VALUE_COLUMN]
    cases = records.filter(pl.col(EVIDENCE).is_not_null()).select(key).unique()
    if cases.is_empty():
        return records
    found = {text: Evidence.of_text(text) for text in cases[EVIDENCE].unique()}
    written = (name for evidence in found.values() for name in evidence.marks)
    meant = _meant({*written, *cases[EVENT_NAME].fill_null(_ANY_NAME)}, renamed)
    by_meter = {text: evidence.by_meter(meant) for text, evidence in found.items()}
    shown = [
        by_meter[text].shown(meant[name or _ANY_NAME], (column, VALUE, *quantity_columns))
        for text, name, column in cases.iter_rows()
    ]
    table = cases.with_columns(
        pl.Series("@comma", [marks.get(_COMMA) for marks in shown], dtype=pl.String),
        pl.Series("@point", [marks.get(_POINT) for marks in shown], dtype=pl.String),
    )
    joined = records.join(table, on=key, how="left", nulls_equal=True, maintain_order="left")
    return joined.with_columns(
        pl.coalesce(COMMA_SHOWN, "@comma").alias(COMMA_SHOWN), pl.coalesce(POINT_SHOWN, "@point").alias(POINT_SHOWN)
    ).drop("@comma", "@point")


def with_evidence(records: Records, evidence: Evidence) -> Records:
    """Add the evidence of their file to records, where there is any: a column less is time saved on each record."""
    return records if evidence.text is None else records.with_columns(pl.lit(evidence.text).alias(EVIDENCE))


def may_speak_against_points() -> pl.Expr:
    """Tell whether the evidence of a record's file shows the comma as a decimal mark anywhere."""
    return pl.col(EVIDENCE).str.contains(f'"{_COMMA}":', literal=True).fill_null(value=False)


def is_stranger(records: pl.DataFrame, column: str) -> pl.Series:
    """Tell of each resolved record whether the column names another id than the customer elsewhere in its file."""
    key = [EVIDENCE, CUSTOMER_COLUMN]
    cases = records.select(key).unique()
    strange = [
        text is not None and (ours, column) in Evidence.of_text(text).strangers for text, ours in cases.iter_rows()
    ]
    table = cases.with_columns(pl.Series("strange", strange, dtype=pl.Boolean))
    return records.select(key).join(table, on=key, how="left", nulls_equal=True, maintain_order="left")["strange"]


def _meant(names: Iterable[str], renamed: Mapping[str, str]) -> dict[str, str]:
    """Return for each event name what it has in common with all others that are repaired to the same meter's.

    Those of two meters whose names differ in spelling only have it in common, too: theirs wait together.
    """
    written = list(names)
    followed = pl.Series("name", [_followed(name, renamed) for name in written], dtype=pl.String)
    return dict(zip(written, followed.to_frame().select(folded(pl.col("name"))).to_series(), strict=True))


def _followed(name: str, renamed: Mapping[str, str]) -> str:
    for _ in range(_MAX_RENAMED if renamed else 0):
        name = renamed.get(name) or renamed.get(bare(name)) or name
    return name


def _key(column: str) -> str:
    return column.removeprefix(PAYLOAD_PREFIX).lower()


def _seen(column: str) -> str:
    return f"@seen {column}"


def _pair(ours: str, other: str) -> str:
    return f"@pair {ours} {other}"


def _bare(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars(_PADDING)


def _differ(ours: str, other: str) -> pl.Expr:
    """Tell of a row whether it names its customer and has something else in the other column."""
    return _bare(ours).str.contains(_ID) & (_bare(other) != "") & (_bare(ours) != _bare(other))


def _marks_of(seen: pl.DataFrame, column: str) -> Evidence:
    text, name = pl.col(_seen(column)), pl.col(_seen(EVENT_NAME))
    few = seen.lazy().filter(text.is_not_null(), name.str.len_chars().is_between(1, MAX_EVENT_NAME_LENGTH))
    number = with_ascii_marks(pl.col("text"))
    marks = {mark: number.str.contains(pattern) for mark, pattern in _SHOWS_PATTERN.items()}
    shown = (
        few.select(name.alias("name"), text.alias("text"))
        .unique()
        .with_columns(
            pl.concat_list(pl.when(holds).then(pl.lit(mark)) for mark, holds in marks.items()).alias("mark")
        )
        .explode("mark")
        .drop_nulls("mark")
        .group_by("name", "mark")
        .agg(pl.col("text").str.slice(0, _SHOWN_LENGTH).min())
        .collect()
    )
    return Evidence(_joined((name, {column: {mark: text}}) for name, mark, text in shown.iter_rows()))
