"""A repeated identifier that is missed is a record that Stripe drops; one that is imagined stops good revenue."""

from collections import defaultdict
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.offline import duplicates, scan
from workers.offline.scan import FileFacts, find_facts
from workers.records.files.open import open_file
from workers.records.schema import CUSTOMER, EVENT_NAME, IDENTIFIER

HEADER = "identifier,timestamp,event_name,payload_stripe_customer_id\n"


def write(path: Path, rows: list[str | None]) -> Path:
    path.write_text(HEADER + "".join(f"{row or ''},1,calls,cus_{row}\n" for row in rows))
    return path


def facts_of(path: Path, rows: list[str | None], target: int, **asked: object) -> FileFacts:
    with open_file(write(path, rows)) as file:
        return find_facts([file], target, **asked)[0]  # type: ignore[arg-type]


def expected(rows: list[str | None]) -> list[tuple[int, int, int]]:
    where = defaultdict(list)
    for number, row in enumerate(rows, 1):
        if row is not None:
            where[row].append(number)
    return sorted((n, found[0], found[-1]) for found in where.values() if len(found) > 1 for n in found)


IDENTIFIERS = st.lists(st.one_of(st.none(), st.sampled_from("abcdefghij")), max_size=30)


@given(rows=IDENTIFIERS, target=st.sampled_from([1, 40, 1 << 20]))
def test_repeats_are_those_that_a_dictionary_finds(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str | None], target: int
) -> None:
    facts = facts_of(tmp_path_factory.mktemp("facts") / "usage.csv", rows, target)
    assert facts.repeats[IDENTIFIER].rows() == expected(rows)
    assert facts.missing_identifiers == rows.count(None)
    assert facts.records == len(rows)


def test_identifiers_that_share_a_hash_are_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "hashed", lambda key: key.str.len_chars().cast(pl.UInt64))
    rows: list[str | None] = ["a", "b", "c", "a", None, "bb", "cc"]
    assert facts_of(tmp_path / "usage.csv", rows, 40).repeats[IDENTIFIER].rows() == [(1, 1, 4), (4, 1, 4)]


def test_the_size_of_a_batch_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[str | None] = [str(i % 700) for i in range(1000)]
    monkeypatch.setattr(duplicates, "BATCH", 64)
    assert facts_of(tmp_path / "usage.csv", rows, 3000).repeats[IDENTIFIER].rows() == expected(rows)


@given(rows=IDENTIFIERS, cuts=st.sets(st.integers(0, 30), max_size=3), target=st.sampled_from([1, 1 << 20]))
def test_repeats_are_found_across_the_files_of_one_upload(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str | None], cuts: set[int], target: int
) -> None:
    folder = tmp_path_factory.mktemp("facts")
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    shares = [rows[start:end] for start, end in pairwise(edges)]
    with ExitStack() as stack:
        paths = [write(folder / f"{number}.csv", share) for number, share in enumerate(shares)]
        found = find_facts([stack.enter_context(open_file(path)) for path in paths], target)
    counted_on = [
        (row + facts.before, first, last)
        for facts in found
        for row, first, last in facts.repeats[IDENTIFIER].iter_rows()
    ]
    assert counted_on == expected(rows)
    assert [row + facts.before for facts in found for row in facts.repeated_rows(IDENTIFIER)] == [
        number for number, first, _ in expected(rows) if number > first
    ]


def test_any_key_can_be_asked_for_beside_the_identifier(tmp_path: Path) -> None:
    key = pl.concat_str(EVENT_NAME, CUSTOMER, separator="\0")
    facts = facts_of(tmp_path / "u.csv", ["a", "b", "a"], 40, keys={"window": key}, needs=[EVENT_NAME, CUSTOMER])
    assert facts.repeats["window"].rows() == [(1, 1, 3), (3, 1, 3)]
    assert IDENTIFIER not in facts.repeats


def test_columns_of_json_are_those_of_all_parts_in_one_order(tmp_path: Path) -> None:
    path = tmp_path / "u.jsonl"
    path.write_text('{"zeta":1}\n{"payload":{"value":1,"b":2}}\nbroken\n{"identifier":"a","payload":{"a":1}}\n')
    for target in (1, 1 << 20):
        with open_file(path) as file:
            [facts] = find_facts([file], target)
            frames = [file.read(part, facts.columns) for part in facts.parts]
        assert facts.columns == (
            "identifier", "timestamp", "event_name", "payload_value", "payload_a", "payload_b", "zeta",
        )  # fmt: skip
        assert {tuple(frame.columns) for frame in frames} == {tuple(frames[0].columns)}
        assert (facts.records, facts.unreadable, facts.missing_identifiers) == (4, 1, 2)


def test_the_spool_is_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    facts_of(tmp_path / "usage.csv", ["a", "a"], 1)
    assert list(scratch.iterdir()) == []


def test_blank_parts_hide_no_record_whichever_part_is_read_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads read the parts, and one of blank lines alone has the number of the next one's first record."""
    monkeypatch.setattr(scan, "in_order", lambda look, parts: [look(part) for part in list(parts)[::-1]][::-1])
    line = '{"identifier": "a", "timestamp": "1", "event_name": "calls"}\n'
    path = tmp_path / "usage.jsonl"
    path.write_text(line + "\n" * 500 + line)
    with open_file(path) as file:
        [found] = find_facts([file], 100)
    assert any(part.rows == 0 for part in found.parts)
    assert found.repeats[IDENTIFIER].rows() == [(1, 1, 2), (2, 1, 2)]
