"""Failed-records files that tell one row twice, once for each error: if these fail, it is billed twice."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.kernel.reasons import ROW_CONTRADICTED, ROW_COUNT_DIFFERS
from workers.pipeline.intake.failed_rows import NUMBERED, told_records
from workers.records.schema import CODE, IDENTIFIER, MESSAGE, REASON, ROW

SCHEMA = {
    IDENTIFIER: pl.String, "timestamp": pl.String, "event_name": pl.String, "payload_value": pl.String,
    ROW: pl.Int64, NUMBERED: pl.Boolean, CODE: pl.String, MESSAGE: pl.String,
}  # fmt: skip


def told(*rows: dict[str, Any], counted: int | None, parts: int = 1) -> pl.DataFrame:
    """The records of a file with these rows, read in so many parts."""
    frame = pl.DataFrame(
        [
            {IDENTIFIER: None, "timestamp": "t", "event_name": "calls", CODE: "c", MESSAGE: "m", **one}
            for one in rows
        ],
        schema=SCHEMA,
    )
    size = max(1, -(-frame.height // parts))
    frames = [frame.slice(first, size) for first in range(0, max(1, frame.height), size)]
    return pl.concat(told_records(frames, "a file", counted))


def numbered(number: int, **row: Any) -> dict[str, Any]:
    return {ROW: number, NUMBERED: True, **row}


def bare(number: int, **row: Any) -> dict[str, Any]:
    return {ROW: number, NUMBERED: False, **row}


def test_rows_with_one_number_of_the_original_are_one_record_with_all_that_is_said_of_it() -> None:
    records = told(
        numbered(4, payload_value="12", **{MESSAGE: "the time"}),
        numbered(4, payload_value="12", **{MESSAGE: "the value", CODE: "d"}),
        numbered(9, payload_value="3"),
        counted=2,
        parts=3,
    )
    assert records[ROW].to_list() == [4, 9]
    assert records[MESSAGE].to_list() == ["the time; the value", "m"]
    assert records[CODE].to_list() == ["c", "c"]
    assert records[REASON].to_list() == [None, None]


A, B = {"payload_value": "12"}, {"payload_value": "3"}
NAMED = {"payload_value": "12", IDENTIFIER: "i1"}


@pytest.mark.parametrize(
    ("rows", "counted", "records", "held"),
    [
        ([numbered(4, **A), numbered(4, **A), numbered(9, **B)], 2, 2, None),
        ([numbered(4, **A), numbered(5, **A)], 2, 2, None),
        ([numbered(4, **A), numbered(5, **A)], None, 2, None),
        ([numbered(4, **A), numbered(5, **A)], 1, 2, ROW_COUNT_DIFFERS),
        ([numbered(4, **A), numbered(4, **B)], 2, 2, ROW_CONTRADICTED),
        ([numbered(4, **NAMED), numbered(4, **NAMED)], 1, 1, None),
        ([bare(1, **A), bare(2, **A), bare(3, **B)], 2, 2, ROW_COUNT_DIFFERS),
        ([bare(1, **A), bare(2, **A)], None, 1, ROW_COUNT_DIFFERS),
        ([bare(1, **A), bare(2, **A)], 2, 1, None),
        ([bare(1, **A), bare(2, **B)], 2, 2, None),
        ([bare(1, **A), bare(2, **B)], 1, 2, ROW_COUNT_DIFFERS),
        ([bare(1, **A), bare(2, **B)], 5, 2, None),
        ([bare(1, **NAMED), bare(2, **NAMED), bare(3, **B)], 2, 2, None),
        ([bare(1, **NAMED), bare(2, **{**NAMED, "payload_value": "1"})], 2, 2, None),
        ([bare(1, **NAMED)], None, 1, None),
        ([], 0, 0, None),
    ],
)
def test_the_count_says_how_many_records_the_rows_are(
    rows: list[dict[str, Any]], counted: int | None, records: int, held: str | None
) -> None:
    found = told(*rows, counted=counted)
    assert found.height == records
    assert set(found[REASON]) <= {held}


def test_an_identifier_is_made_of_the_originals_row_and_never_of_the_failed_files() -> None:
    """The same row told again, in another place of the file, would be another record."""
    one = told(numbered(4, **A), numbered(9, **B), counted=2)
    other = told(numbered(9, **B), numbered(4, **A), numbered(4, **A), counted=2)
    assert set(one[IDENTIFIER]) == set(other[IDENTIFIER])
    assert told(bare(1, **A), counted=1)[IDENTIFIER].item() == told(bare(7, **A), counted=1)[IDENTIFIER].item()


originals = st.lists(st.sampled_from(["1", "2", "3"]), min_size=1, max_size=5)


@given(
    originals, st.lists(st.integers(1, 3), min_size=5, max_size=5), st.booleans(), st.booleans(), st.integers(1, 4)
)
def test_no_original_row_is_sent_twice_and_none_is_lost_from_the_count(
    values: list[str], times: list[int], is_numbered: bool, is_named: bool, parts: int
) -> None:
    rows = []
    for number, value in enumerate(values, 1):
        name = f"i{number}" if is_named else None
        rows += [(number, {"payload_value": value, IDENTIFIER: name})] * times[number - 1]
    build = numbered if is_numbered else bare
    told_rows = [build(number if is_numbered else place, **row) for place, (number, row) in enumerate(rows, 1)]
    found = told(*told_rows, counted=len(values), parts=parts)
    sent = found.filter(pl.col(REASON).is_null())
    assert found.height <= len(values)
    assert found[IDENTIFIER].n_unique() == found.height
    for value in set(values):
        assert sent.filter(pl.col("payload_value") == value).height <= values.count(value)
    if is_numbered or is_named:
        assert sent.height == len(values)
