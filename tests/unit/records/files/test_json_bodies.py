"""Bodies of calls: taken for one record each, most of what is at stake is not in the books."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.records.reading import read_all
from workers.kernel.errors import FileUnusable
from workers.records.files import detect, json_array
from workers.records.schema import IDENTIFIER, VALUE


def record(number: int) -> dict[str, object]:
    payload = {"stripe_customer_id": "cus_Ax1", "value": "4"}
    return {"identifier": f"e{number}", "timestamp": 1795089600, "event_name": "api_calls", "payload": payload}


THREE = [record(1), record(2), record(3)]


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


@pytest.mark.parametrize(
    "data",
    [
        *(lines({key: THREE}) for key in ("events", "records", "data", "items", "usage", "meter_events", "batch")),
        json.dumps({"events": THREE}, indent=2).encode(),
        lines({"object": "list", "url": "/v1", "has_more": False, "data": THREE}),
        lines({"body": {"events": THREE}, "status": 400}),
        lines({"body": json.dumps({"events": THREE}), "status": 400}),
        lines({"events": json.dumps(THREE)}),
        lines({"events": THREE[:1]}, {"events": THREE[1:]}),
        lines({"events": THREE[:2]}, THREE[2]),
        lines({"events": []}, {"events": THREE}),
        json.dumps([{"events": THREE[:1]}, {"events": THREE[1:]}]).encode(),
        b"\n".join(json.dumps({"events": some}, indent=1).encode() for some in (THREE[:1], THREE[1:])),
        lines(json.dumps({"events": THREE})),
        b"\xef\xbb\xbf" + lines({"events": THREE}),
        lines({"events": [{"event": one, "error": "x"} for one in THREE]}),
    ],
)
def test_each_record_of_a_body_is_one(data: bytes) -> None:
    frame = read_all(data, "bodies.json")
    assert frame[IDENTIFIER].to_list() == ["e1", "e2", "e3"]
    assert frame[VALUE].to_list() == ["4", "4", "4"]


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), max_size=6), st.integers(1, 400), st.sampled_from([None, 1]))
def test_no_record_of_a_file_of_bodies_is_lost_or_told_twice(
    sizes: list[int], target: int, indent: int | None
) -> None:
    bodies, count = [], 0
    for size in sizes:
        bodies.append({"events": [record(count + n) for n in range(size)]})
        count += size
    data = "\n".join(json.dumps(body, indent=indent) for body in [*bodies, {"events": [record(count)]}])
    assert read_all(data.encode(), "u.jsonl", target=target)[IDENTIFIER].to_list() == [
        f"e{n}" for n in range(count + 1)
    ]


@pytest.mark.parametrize("behind", [{}, {"has_more": False, "meta": {"n": 2}}])
@pytest.mark.parametrize("indent", [None, 1])
def test_a_body_larger_than_a_block_is_read_in_bounded_memory(
    monkeypatch: pytest.MonkeyPatch, indent: int | None, behind: dict[str, object]
) -> None:
    for module, name in ((json_array, "BLOCK"), (json_array, "MAX_ELEMENT_BYTES"), (detect, "HEAD_BYTES")):
        monkeypatch.setattr(module, name, 1000)
    body = {"object": "list", "data": [record(n) for n in range(50)], **behind}
    frame = read_all(json.dumps(body, indent=indent).encode(), "u.json")
    assert frame[IDENTIFIER].to_list() == [f"e{n}" for n in range(50)]


def test_what_is_no_record_in_a_list_of_records_is_counted() -> None:
    frame = read_all(lines({"events": [record(1), 5, {}, "x"]}))
    assert frame.height == 4


@pytest.mark.parametrize(
    "row",
    [
        {**record(1), "items": [record(2)]},
        {"event_name": "a", "events": THREE},
        {"tags": [{"a": 1}]},
        {"errors": []},
        {"identifier": "x", "events": []},
    ],
)
def test_a_record_with_lists_of_its_own_is_one_record(row: dict[str, object]) -> None:
    assert read_all(lines(row)).height == 1


def test_of_two_lists_of_records_neither_is_taken_for_the_usage() -> None:
    """One may be what Stripe has counted, the other what it refused."""
    with pytest.raises(
        FileUnusable, match="an object of it has several lists of records: accepted, rejected - send each"
    ):
        read_all(lines({"accepted": THREE, "rejected": THREE}))
