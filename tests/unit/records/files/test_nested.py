"""A payload or a record that stands as JSON inside a column: unread, its usage is never billed."""

import csv
import io
import json
from collections.abc import Mapping

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.records.reading import read_all, unreadable
from workers.kernel.errors import FileUnusable
from workers.records.schema import READ_FROM, VALUE, original_columns

RECORD = {"identifier": "d1", "timestamp": "1795089600", "event_name": "api_calls"}
BILLED = {"payload_stripe_customer_id": "cus_Ax1", "payload_value": "5"}
PAYLOAD = '{"stripe_customer_id":"cus_Ax1","value":"5"}'


def as_csv(*rows: Mapping[str, str | None]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_json_lines(*rows: Mapping[str, object]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def given_cells(frame: pl.DataFrame, row: int = 0) -> dict[str, str]:
    cells = frame.select(original_columns(frame.columns)).to_dicts()[row]
    return {name: text for name, text in cells.items() if text is not None}


@pytest.mark.parametrize(
    "data",
    [
        as_csv({**RECORD, "payload": PAYLOAD}),
        as_csv({**RECORD, "payload": json.dumps(PAYLOAD)}),
        as_csv({**RECORD, "Payload": PAYLOAD}),
        as_csv({**RECORD, "data": PAYLOAD, "note": ""}),
        as_csv({**RECORD, "payload": PAYLOAD, "payload_value": ""}),
        as_csv({**RECORD, "payload": PAYLOAD, "payload_value": "5"}),
        as_csv({**RECORD, "payload": json.dumps(json.loads(PAYLOAD), indent=1)}),
        as_csv({**RECORD, "payload": PAYLOAD}).replace(b",", b";").replace(b";" + b'""value', b',""value'),
        as_json_lines({**RECORD, "payload": PAYLOAD}),
        as_json_lines({**RECORD, "payload": json.dumps(PAYLOAD)}),
        as_json_lines({**RECORD, "properties": json.loads(PAYLOAD)}),
        as_json_lines({**RECORD, "data": PAYLOAD}),
        json.dumps([{**RECORD, "payload": PAYLOAD}], indent=1).encode(),
        as_json_lines({"payload": json.dumps({**RECORD, "payload": PAYLOAD})}),
        json.dumps(json.dumps({**RECORD, "payload": PAYLOAD})).encode(),
    ],
)
def test_a_payload_that_stands_in_one_column_is_read_and_said_to_be_read(data: bytes) -> None:
    frame = read_all(data)
    assert {k: v for k, v in given_cells(frame).items() if k not in ("data", "note")} == RECORD | BILLED
    assert frame[READ_FROM].null_count() == 0, "Stripe reads nothing of it: the record as it stands is refused"


@pytest.mark.parametrize("value", ["0.10", "1e3", "12345678901234567890", "1E-7", "-0", "5"])
def test_a_number_inside_a_text_keeps_its_characters(value: str) -> None:
    text = f'{{"stripe_customer_id": "cus_Ax1", "value": {value}}}'
    for data in (as_csv({**RECORD, "payload": text}), as_json_lines({**RECORD, "payload": text})):
        assert read_all(data)[VALUE].to_list() == [value]


KEYS = st.text("abcdefgh_", min_size=1, max_size=8)
VALUES = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=8)


@given(
    st.lists(st.dictionaries(KEYS, VALUES, min_size=1), min_size=1, max_size=5), st.booleans(), st.integers(1, 99)
)
def test_a_payload_in_a_text_reads_as_the_object_does(
    payloads: list[dict[str, str]], twice: bool, target: int
) -> None:
    texts = [json.dumps(payload, ensure_ascii=False) for payload in payloads]
    if twice:
        texts = [json.dumps(text) for text in texts]
    objects = read_all(as_json_lines(*({**RECORD, "payload": payload} for payload in payloads)))
    rows = [{**RECORD, "payload": text} for text in texts]
    for data in (as_csv(*rows), as_json_lines(*rows)):
        frame = read_all(data, target=target)
        assert [given_cells(frame, n) for n in range(frame.height)] == [
            given_cells(objects, n) for n in range(objects.height)
        ]


@pytest.mark.parametrize("text", ["", "abc", "[1]", "5", '{"value":', "{'value': 5}", '"{}x"', "null"])
def test_a_payload_that_is_no_object_stays_as_it_is(text: str) -> None:
    frame = read_all(as_csv({**RECORD, "payload": text}))
    assert given_cells(frame) == RECORD | ({"payload": text} if text else {})


@pytest.mark.parametrize(
    "row",
    [
        {"payload": PAYLOAD, "payload_value": "6"},
        {"payload": '{"value": 1, "value": 2}'},
        {"payload": PAYLOAD, "payload_stripe_customer_id": "cus_Bx2"},
    ],
)
def test_of_two_values_none_is_read(row: dict[str, str]) -> None:
    """One of them would be billed, though the other may be the one that is meant."""
    for data in (as_csv({**RECORD, **row}), as_json_lines({**RECORD, **row})):
        assert [reason for _, reason, _ in unreadable(read_all(data))] == ["duplicate_key"]


def test_columns_that_could_each_be_the_payload_are_left_alone() -> None:
    frame = read_all(as_csv({**RECORD, "data": PAYLOAD, "properties": PAYLOAD}))
    assert VALUE not in frame.columns


def test_an_own_column_of_objects_is_no_payload_where_there_is_one() -> None:
    frame = read_all(as_csv({**RECORD, **BILLED, "data": '{"value": "7"}'}))
    assert given_cells(frame) == RECORD | BILLED | {"data": '{"value": "7"}'}


WHOLE = {**RECORD, "payload": json.loads(PAYLOAD)}


@pytest.mark.parametrize("column", ["record", "original", "row_data", "event", "request", "data", "body"])
@pytest.mark.parametrize("as_text", [True, False])
def test_a_record_that_stands_in_one_column_is_read_and_what_is_beside_it_is_kept(
    column: str, as_text: bool
) -> None:
    inner = json.dumps(WHOLE)
    row = {"row": "7", "timestamp": "1", "error_message": "bad", column: inner if as_text else WHOLE}
    for data in [as_json_lines(row), *([as_csv({k: str(v) for k, v in row.items()})] if as_text else [])]:
        frame = read_all(data)
        beside = {"row": "7", "timestamp#2": "1", "error_message": "bad"}
        assert given_cells(frame) == RECORD | BILLED | beside
        assert frame[READ_FROM].null_count() == frame.height, "where a record stands is no fault of it"


def test_a_record_in_each_of_two_columns_is_one_clear_error() -> None:
    text = json.dumps(WHOLE)
    with pytest.raises(FileUnusable, match="each of its columns 'before', 'after' holds a record - leave one"):
        read_all(as_csv({"before": text, "after": text}))


def test_a_row_without_its_record_is_unreadable_and_the_others_are_read() -> None:
    frame = read_all(as_json_lines(*[{"record": WHOLE}] * 100, {"record": "gone"}, {"record": WHOLE}))
    assert [(row, reason) for row, reason, _ in unreadable(frame)] == [(101, "not_json")]
    assert frame[VALUE].to_list() == ["5"] * 100 + [None, "5"]
