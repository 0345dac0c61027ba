"""Telling found, missing and ambiguous identifiers apart, for any rows in any files."""

from collections import defaultdict

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from workers.records.schema import IDENTIFIER, REQUIRED_COLUMNS, ROW, SOURCE, dtype_of
from workers.sources.protocol import carriers, settle, wanted

Row = dict[str, str | int | None]

identifiers = st.sampled_from(["a", "b", "c", "d"])
values = st.sampled_from([None, "1", "2", "01"])
rows = st.fixed_dictionaries(
    {IDENTIFIER: identifiers, "timestamp": st.just("1795250000"), "event_name": st.just("tokens")},
    optional={"payload_value": values, "payload_region": values, "exported_by": values},
)
files = st.lists(st.lists(rows, min_size=1, max_size=4), max_size=4)


def frame(name: str, file: list[Row]) -> pl.DataFrame:
    numbered = [row | {ROW: number, SOURCE: name} for number, row in enumerate(file, 1)]
    columns = dict.fromkeys(column for row in numbered for column in (*REQUIRED_COLUMNS, *row))
    return pl.DataFrame(numbered, schema={column: dtype_of(column) for column in columns})


def billed_by(row: Row) -> tuple[object, ...]:
    return tuple(row.get(column) for column in (*REQUIRED_COLUMNS, "payload_value", "payload_region"))


@given(files, st.lists(identifiers, unique=True))
def test_every_identifier_is_found_once_or_missing_or_ambiguous(
    contents: list[list[Row]], asked: list[str]
) -> None:
    """An identifier that is in none of the three is a record that nobody looks for any more."""
    frames = [frame(f"{number}.csv", file) for number, file in enumerate(contents)]
    hits = [one.filter(pl.col(IDENTIFIER).is_in(asked)) for one in frames]
    found = settle(wanted(asked), carriers(hits))
    variants = defaultdict(set)
    for row in (row for file in contents for row in file):
        variants[row[IDENTIFIER]].add(billed_by(row))
    assert sorted(found.records[IDENTIFIER]) == sorted(name for name in asked if len(variants[name]) == 1)
    assert sorted(found.missing) == sorted(name for name in asked if not variants[name])
    assert sorted(found.ambiguous) == sorted(name for name in asked if len(variants[name]) > 1)


@given(files)
def test_a_found_record_is_a_row_of_its_file_as_it_stands_there(contents: list[list[Row]]) -> None:
    frames = [frame(f"{number}.csv", file) for number, file in enumerate(contents)]
    for record in settle(wanted(["a", "b", "c", "d"]), carriers(frames)).records.rows(named=True):
        original = contents[int(record[SOURCE].removesuffix(".csv"))][record[ROW] - 1]
        assert {name: value for name, value in record.items() if value is not None and name[0] != "@"} == {
            name: value for name, value in original.items() if value is not None
        }
