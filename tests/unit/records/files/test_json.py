"""A JSON number that passes through a float is another quantity; a nested key that is missed is a lost record."""

import io
import json
import random
import time
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.records.reading import read_all, unreadable
from workers.kernel.errors import FileUnusable
from workers.records.files import json_array, json_part, split
from workers.records.files.json_record import NotARecord, parse_record
from workers.records.files.layout import MAX_KEYS, Format, ReadOptions
from workers.records.schema import CUSTOMER, IDENTIFIER, ROW, VALUE, carried_name, original_columns

NUMBERS = st.from_regex(r"\A-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?\Z")
TEXT = st.text(
    st.one_of(st.sampled_from(list('"\\/{}[],:\n\t é😀\u2028 a1')), st.characters(exclude_categories=["Cs"])),
    max_size=8,
)
PARTS = st.sampled_from([1, 3, 50, 1 << 20])


class Number(str):
    """A number as its sender wrote it."""


VALUES = st.recursive(
    st.one_of(NUMBERS.map(Number), TEXT, st.none(), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=4,
)
KEYS = st.one_of(st.sampled_from(["identifier", "timestamp", "event_name", "value", "n"]), TEXT)
RECORDS = st.builds(
    lambda flat, payload: {**{key: value for key, value in flat.items() if not clashes(key)}, "payload": payload},
    st.dictionaries(KEYS, VALUES, max_size=4),
    st.dictionaries(KEYS, VALUES, max_size=4),
)


def clashes(key: str) -> bool:
    """Whether a flat key would be read as something else: as payload, or by a synonym."""
    return key.startswith("payload") or key == "value"


def dump(value: object, *, ascii_only: bool, blank: str = "") -> str:
    """Write JSON with numbers as they are and `blank` wherever JSON allows it."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        members = [
            f"{blank}{json.dumps(key, ensure_ascii=ascii_only)}{blank}:{blank}"
            f"{dump(item, ascii_only=ascii_only, blank=blank)}{blank}"
            for key, item in value.items()
        ]
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(blank + dump(item, ascii_only=ascii_only, blank=blank) for item in value) + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def expected(record: dict[str, object], *, ascii_only: bool, blank: str) -> dict[str, str]:
    payload = record["payload"]
    assert isinstance(payload, dict)
    flat = {carried_name(key): value for key, value in record.items() if key != "payload"}
    named = flat | {f"payload_{key}": value for key, value in payload.items()}
    return {
        key: value if isinstance(value, str) else dump(value, ascii_only=ascii_only, blank=blank)
        for key, value in named.items()
        if value is not None
    }


@given(st.lists(RECORDS, min_size=1, max_size=6), st.booleans(), st.sampled_from(["", " ", "\t"]), PARTS)
@example([{"payload": {"value": Number("0.10")}}, {"payload": {"value": Number("1e3")}}], True, "", 1)
@example([{"payload": {"value": Number("12345678901234567890.5")}}] * 3, True, " ", 1)
def test_json_lines_and_arrays_keep_every_value_as_its_text(
    records: list[dict[str, object]], ascii_only: bool, blank: str, target: int
) -> None:
    lines = [dump(record, ascii_only=ascii_only, blank=blank) for record in records]
    wanted = [expected(record, ascii_only=ascii_only, blank=blank) for record in records]
    jsonl = read_all("\n".join(lines).encode(), "u.jsonl", target=target, options=ReadOptions(format=Format.JSONL))
    array = read_all(f"[{','.join(lines)}]".encode(), "u.json", target=target)
    for frame in (jsonl, array):
        got = [
            {key: text for key, text in row.items() if text is not None}
            for row in frame.select(original_columns(frame.columns)).to_dicts()
        ]
        assert got == wanted


@given(st.lists(RECORDS, min_size=1, max_size=5), st.sampled_from([None, 1, 4]))
def test_an_array_is_split_into_the_elements_that_json_finds(records: list[object], indent: int | None) -> None:
    text = json.dumps(records, indent=indent)
    lines = json_lines(text.encode()).removesuffix("\n").split("\n")
    assert [json.loads(line) for line in lines] == json.loads(text)


def json_lines(data: bytes) -> str:
    copy = io.BytesIO()
    json_array.write_lines(io.BytesIO(data), copy, "usage.json")
    return copy.getvalue().decode(errors="surrogateescape")


@given(st.lists(st.sampled_from(list('{}[],:"\\ \n1a')), max_size=40).map("".join))
@example('{"a":[{"b":1},{"c":2}]},{"d":3}')
@example('{"a":"},{"},1,{"b":2')
def test_splitting_a_broken_array_loses_no_character(body: str) -> None:
    def essence(text: str) -> Counter[str]:
        return Counter(c for c in text if c not in "[], \r\n")

    assert essence(json_lines(f"[{body}]".encode())) == essence(body)


def test_the_split_is_the_same_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded = random.Random(7)
    records = [
        {"identifier": f"id{i}", "payload": {"v": "},{" * (i % 3), "l": [{}, {"x": i}][: i % 3]}}
        for i in range(300)
    ]
    text = json.dumps(records, indent=seeded.choice([None, 2])).encode()
    whole = json_lines(text)
    monkeypatch.setattr(json_array, "BLOCK", 64)
    assert json_lines(text) == whole
    assert whole.count("\n") == 300


ELEMENT = st.sampled_from(
    [
        *('{"a":1}', '{"a":"é","payload":{"b":"x"}}', '{"a":"},{"}', '{"a":"\\""}', '{"a":[{},{}]}', "{}", "7"),
        *('{"x" "},{" y}', '{"a":{},{"b":1}}', '{"a":"x', '"}', '{"a":"\n"}', '{"a":"\r"}', "{}{}"),
    ]
)
SEAM = st.sampled_from([",", ", ", ",\n", ",\r\n", ",\n  ", " ,\n", "\n", "\r\n", ""])
BODY = st.one_of(
    st.tuples(SEAM, st.lists(ELEMENT, min_size=1, max_size=6)).map(lambda drawn: drawn[0].join(drawn[1])),
    st.lists(st.tuples(ELEMENT, SEAM).map("".join), min_size=1, max_size=6).map("".join),
)


@given(BODY, st.sampled_from("]} ,x\n"))
@example('{"a":1},\n{"x" "},{" y}', "]")
@example('{"a":1}\n{"a":2}\r\n{"a":3}', "]")
@example('{"a":1},\n{"a":{},{"b":1}}', "]")
def test_an_array_as_machines_write_it_is_split_as_any_other(body: str, end: str) -> None:
    data = f"[{body}{end}".encode()
    fast = json_lines(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "_plain_elements", lambda _text: None)
        assert fast == json_lines(data)


@pytest.mark.parametrize("seam", [",", ", ", ",\n", ",\r\n", ",\n  "])
def test_an_array_of_flat_records_is_split_the_cheap_way(seam: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A split that is lost on the way costs a file of ten million records as much as reading it."""
    monkeypatch.setattr(json_array, "BALANCED", "(?!) the dear way")
    lines = [a_record(number) for number in range(20)]
    assert json_lines(f"[{seam.join(lines)}]".encode()) == "".join(f"{line}\n" for line in lines)


def test_shapes_and_the_python_loop_read_the_same() -> None:
    lines = [
        '{"identifier":"a","payload":{"value":1}}',
        '{"identifier":"b","payload":{"value":2.50}}',
        '{"identifier":null,"payload":{"value":null}}',
        '{"identifier":"\\u00e9\\/\\"","payload":{"value":3}}',
        '{"identifier":"\\ud83d\\ude00","payload":{"value":-0}}',
        '{"identifier":"\\ud800","payload":{"value":3}}',
        '{"identifier":"\\x","payload":{"value":3}}',
        '{"identifier":"c","payload":{"value":"3"}}',
        '{"identifier":"d","payload":{"value":03}}',
        '{"identifier":"é","payload":{"value":1E+2}}',
        '{"identifier":"é","payload":{"value":true}}',
    ]
    frame = read_all("\n".join(lines).encode(), "u.jsonl")
    for row, line in zip(frame.to_dicts(), lines, strict=True):
        wanted = loop(line)
        assert {key: row[key] for key in wanted} == wanted


def loop(line: str) -> dict[str, str | None]:
    """What the Python loop makes of the line."""
    try:
        return parse_record(line)
    except NotARecord as error:
        return {"@unreadable": error.reason, "@raw": line}


def test_two_values_for_one_key_are_never_chosen_between() -> None:
    lines = [
        '{"payload":{"value":3}}',
        '{"payload_value":1,"payload":{"value":2}}',
        '{"payload":{"value":1,"value":2}}',
        '{"payload":{"value":1},"payload":{"tokens":2}}',
        '{"payload":{"value":1},"payload":null}',
        '{"identifier":"a","identifier":"b"}',
    ]
    frame = read_all("\n".join(lines).encode(), "u.jsonl")
    assert [(row, reason) for row, reason, _ in unreadable(frame)] == [
        (row, "duplicate_key") for row in range(2, 7)
    ]


def test_blank_lines_and_a_cut_last_line_keep_their_neighbours_and_row_numbers() -> None:
    data = b'{"identifier":"a"}\n\n  \r\n{"identifier":"b"}\nnonsense\n[1]\n{"identifier":"c","payl'
    frame = read_all(data, "u.jsonl", target=1)
    assert frame.select(ROW, IDENTIFIER).rows() == [(1, "a"), (2, "b"), (3, None), (4, None), (5, None)]
    assert unreadable(frame) == [
        (3, "not_json", "nonsense"),
        (4, "not_an_object", "[1]"),
        (5, "cut_line", '{"identifier":"c","payl'),
    ]


LINES = st.lists(st.sampled_from(["", " ", "\t\r", '{"a":1}', ' {"a":1}', "\u00a0", "x"]), max_size=12)


@given(LINES, PARTS, st.sampled_from(["", "\n"]))
def test_every_line_that_is_not_blank_is_a_row(lines: list[str], target: int, end: str) -> None:
    frame = read_all(
        ('{"a":0}\n' + "\n".join(lines) + end).encode(), "u.jsonl", target=target, options=ReadOptions(Format.JSONL)
    )
    assert frame.height == 1 + sum(line.strip(" \t\r\n") != "" for line in lines)


def test_lines_are_not_taken_apart_to_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_lines: object) -> None:
        raise AssertionError

    monkeypatch.setattr(split, "blank_lines", never)
    monkeypatch.setattr(json_part, "blank_lines", never)
    lines = "\n".join(a_record(number) for number in range(9))
    assert read_all(lines.encode(), "u.jsonl", target=300).height == 9


def test_a_cut_array_keeps_the_elements_before_the_cut() -> None:
    frame = read_all(b'[{"identifier":"a"},\n {"identifier":"b"},\n {"identifier":"c","payl', "u.json")
    assert frame[IDENTIFIER].to_list() == ["a", "b", None]
    assert unreadable(frame) == [(3, "cut_line", '{"identifier":"c","payl')]


@pytest.mark.parametrize("data", [b"[]", b" [ ]\n"])
def test_an_empty_array_is_a_file_without_records(data: bytes) -> None:
    assert read_all(data, "u.json").height == 0


def test_a_broken_element_does_not_take_its_neighbours_along() -> None:
    frame = read_all(b'[{"identifier":"a"},{"identifier":"b},{"identifier":"c"},7,{"identifier":"d"}]', "u.json")
    assert frame[IDENTIFIER].drop_nulls().to_list() == ["a", "c", "d"]
    assert [reason for _, reason, _ in unreadable(frame)] == ["not_json", "not_an_object"]


def test_pretty_printed_objects_without_an_array_are_records() -> None:
    frame = read_all(b'{\n  "identifier": "a"\n}\n{\n  "identifier": "b"\n}\n', "u.json")
    assert frame[IDENTIFIER].to_list() == ["a", "b"]


def test_a_line_feed_inside_a_string_is_as_wrong_in_an_array_as_json_says() -> None:
    frame = read_all(b'[{"identifier":"a\nb"},{"identifier":"c"}]', "u.json")
    assert unreadable(frame) == [(1, "not_json", '{"identifier":"a\nb"}')]


def test_keys_that_have_one_reading_become_the_canonical_column() -> None:
    lines = b'{"eventName":"calls","customer_id":"cus_1","value":0.10}\n{"eventName":"calls","value":"7"}\n'
    frame = read_all(lines, "u.jsonl")
    assert frame.select("event_name", CUSTOMER, VALUE).rows() == [("calls", "cus_1", "0.10"), ("calls", None, "7")]


def test_a_key_that_is_renamed_is_no_column_in_one_cut_and_none_in_another() -> None:
    lines = ['{"eventName":"a"}'] * 150 + ['{"event_name":"b"}'] * 3
    frames = [read_all("\n".join(lines).encode(), "u.jsonl", target=target) for target in (1, 1 << 20)]
    assert frames[0].equals(frames[1])
    assert "eventName" not in frames[0].columns
    both = read_all("\n".join([*lines, '{"event_name":"c","eventName":"d"}']).encode(), "u.jsonl")
    assert both.select("event_name", "eventName").row(-1) == ("c", "d"), "neither is dropped"


def test_more_shapes_than_are_tried_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps({f"k{i % 9}": i, "identifier": str(i)}) for i in range(60)]
    data = "\n".join(lines).encode()
    whole = read_all(data, "u.jsonl")
    monkeypatch.setattr(json_part, "MAX_SHAPES", 2)
    assert read_all(data, "u.jsonl", target=100).equals(whole)


@given(
    st.binary(max_size=120), st.sampled_from([b"[", b"{", b'[{"identifier":"a"},', b'{"identifier":"a"}\n']), PARTS
)
def test_any_bytes_behind_a_json_start_give_rows_or_one_clear_error(data: bytes, start: bytes, target: int) -> None:
    complaint = ""
    try:
        read_all(start + data, "u.json", target=target)
    except FileUnusable as error:
        complaint = str(error)
    assert not complaint or (complaint.startswith("u.json: ") and len(complaint.splitlines()) == 1)


def a_record(number: int, keys: int = 0, prefix: str = "k") -> str:
    payload = {"stripe_customer_id": "cus_1", "value": "1", **{f"{prefix}{key}": "x" for key in range(keys)}}
    return json.dumps({"identifier": f"id_{number}", "timestamp": 1, "event_name": "calls", "payload": payload})


@pytest.mark.parametrize("wrap", ["{}\n{}\n{}\n", "[{},{},{}]"])
def test_a_record_of_20000_keys_is_one_unreadable_row_and_holds_nothing_up(wrap: str) -> None:
    """Frames cost the square of their width: one such row of 230 KB held a worker for minutes."""
    wide = a_record(2, keys=20_000)
    started = time.monotonic()
    frame = read_all(wrap.format(a_record(1), wide, a_record(3)).encode(), "usage.jsonl")
    assert time.monotonic() - started < 5
    assert unreadable(frame) == [(2, "too_many_keys", wide)]
    assert frame[IDENTIFIER].to_list() == ["id_1", None, "id_3"]


def test_a_file_that_is_one_record_of_too_many_keys_keeps_its_text() -> None:
    wide = a_record(1, keys=20_000)
    assert unreadable(read_all(f"{wide}\n".encode(), "usage.jsonl")) == [(1, "too_many_keys", wide)]


def test_a_record_of_as_many_keys_as_allowed_is_read() -> None:
    frame = read_all(a_record(1, keys=MAX_KEYS - 5).encode(), "usage.jsonl")
    assert unreadable(frame) == []
    assert frame[f"payload_k{MAX_KEYS - 6}"].to_list() == ["x"]
    assert len(unreadable(read_all(a_record(1, keys=MAX_KEYS - 4).encode(), "usage.jsonl"))) == 1


def test_records_whose_keys_are_ever_new_do_not_fill_the_memory() -> None:
    """20,000 rows of 40 keys each that no other row has would be 16 thousand million cells."""
    lines = [a_record(row, keys=40, prefix=f"r{row}_") for row in range(1, 3001)]
    frame = read_all("\n".join([*lines, a_record(3001)]).encode(), "usage.jsonl", target=1 << 30)
    assert {reason for _, reason, _ in unreadable(frame)} == {"too_many_keys"}
    assert frame[IDENTIFIER][0] == "id_1"
    assert frame[IDENTIFIER][-1] == "id_3001", "what stands behind them is read"


def test_a_file_of_too_many_different_keys_is_refused_with_the_way_to_mend_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.offline.scan.MAX_FILE_KEYS", 100)
    lines = [a_record(row, keys=40, prefix=f"r{row}_") for row in range(4)]
    with pytest.raises(FileUnusable, match=r"different keys; at most 100 can be read - keep what differs"):
        read_all("\n".join(lines).encode(), "usage.jsonl", target=1)


@pytest.mark.parametrize("key", ["*", "^.*$", "@row"])
def test_a_key_that_means_something_to_us_or_to_polars_is_a_column_like_any_other(key: str) -> None:
    lines = "\n".join([json.dumps({key: "\\ one", "identifier": "a"}), json.dumps({key: [2], "identifier": "b"})])
    frame = read_all(lines.encode(), "u.jsonl")
    assert frame["@" + key].to_list() == ["\\ one", "[2]"]
    assert frame[IDENTIFIER].to_list() == ["a", "b"]
    csv = read_all(f"{key},identifier,timestamp,event_name\none,a,1,calls\n".encode())
    assert csv["@" + key].to_list() == ["one"]
