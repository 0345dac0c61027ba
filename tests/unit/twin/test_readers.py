"""The twin's readers: a row that they misread would be a fault of ours that looks like Stripe's."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.twin import readers
from fixtures.twin.readers import FileRefused, Malformed, array_items, read_rows, verify
from fixtures.twin.validation import Row

HEADER = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value\n"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def _file(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def _rows(folder: Path, name: str, text: str) -> list[Row | Malformed]:
    return list(read_rows(_file(folder, name, text), name.rpartition(".")[2]))


@given(items=st.lists(JSON_VALUES), indent=st.sampled_from([None, 0, 3]))
def test_an_array_is_split_as_the_json_module_reads_it(items: list[Any], indent: int | None) -> None:
    text = json.dumps(items, indent=indent)
    assert list(array_items(io.StringIO(text))) == items


def test_an_array_is_split_the_same_where_every_item_crosses_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "CHUNK", 7)
    monkeypatch.setattr(readers, "LOOKAHEAD", 3)
    items = [{"number": n, "text": "x" * n, "list": [n, [n]]} for n in range(40)]
    assert list(array_items(io.StringIO(json.dumps(items, indent=1)))) == items


@pytest.mark.parametrize("text", ["", "{}", "[1", "[1,", "[1 2]", "[1,]", "[1] x", "[}", '["a'])
def test_a_broken_array_refuses_the_file(text: str) -> None:
    with pytest.raises(FileRefused):
        list(array_items(io.StringIO(text)))


def test_numbers_keep_every_digit(tmp_path: Path) -> None:
    text = '{"timestamp": 1, "event_name": "e", "payload": {"value": 0.1234567890123456789, "n": 1e3}}'
    [row] = _rows(tmp_path, "u.jsonl", text)
    assert isinstance(row, Row)
    assert row.payload == {"value": "0.1234567890123456789", "n": "1000"}


def test_blank_and_null_are_absent_keys(tmp_path: Path) -> None:
    [row] = _rows(tmp_path, "u.csv", HEADER + "a,1,e, ,\n")
    assert row == Row("a", 1, "e", {})
    [row] = _rows(tmp_path, "u.jsonl", '{"timestamp": "1", "event_name": "e", "payload": {"value": null}}')
    assert row == Row(None, 1, "e", {})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,1,e,cus_a", "Expected 5 columns, found 4."),
        ("a,1,e,cus_a,1,x", "Expected 5 columns, found 6."),
        ("a,1, ,cus_a,1", "event_name is missing."),
        ("a,,e,cus_a,1", "timestamp is missing."),
        ("a,2026-11-20,e,cus_a,1", "Invalid timestamp: 2026-11-20. Expected epoch seconds."),
        ("a,1.5,e,cus_a,1", "Invalid timestamp: 1.5. Expected epoch seconds."),
        ("a,1,{long},cus_a,1", "event_name and identifier can have at most 100 characters."),
    ],
)
def test_a_row_of_bad_form_is_set_aside_and_the_next_is_read(tmp_path: Path, line: str, message: str) -> None:
    text = HEADER + line.replace("{long}", "e" * 101) + "\nb,2,e,cus_a,1\n"
    bad, good = _rows(tmp_path, "u.csv", text)
    assert isinstance(bad, Malformed)
    assert (bad.number, bad.message) == (1, message)
    assert isinstance(good, Row)


def test_a_quoted_newline_belongs_to_its_cell(tmp_path: Path) -> None:
    rows = _rows(tmp_path, "u.csv", HEADER + '"a\nb",1,e,cus_a,1\n\nc,1,e,cus_a,1\n')
    assert [row.identifier for row in rows if isinstance(row, Row)] == ["a\nb", "c"]


@pytest.mark.parametrize(
    ("name", "contents", "reason"),
    [
        ("u.csv", b"identifier,timestamp\na,1\n", "column event_name is missing"),
        ("u.csv", HEADER.replace(",", ";").encode(), "column timestamp is missing"),
        ("u.csv", b"\xef\xbb\xbf" + HEADER.encode(), "byte order mark"),
        ("u.csv", HEADER.encode() + b"\xff", "UTF-8"),
        ("u.csv", HEADER.encode(), "no records"),
        ("u.csv", HEADER.encode() + b'a,1,e,"cus_a,1\n', "parsed as CSV"),
        ("u.json", b"[]", "no records"),
        ("u.json", b"{}", "not a JSON array"),
        ("u.jsonl", b"\n \n", "no records"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_is_refused_with_the_reason(
    tmp_path: Path, name: str, contents: bytes, reason: str
) -> None:
    with pytest.raises(FileRefused, match=reason):
        verify(_file(tmp_path, name, contents), name.rpartition(".")[2])
