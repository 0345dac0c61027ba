"""Identifiers of repaired records: under one that Stripe holds, a record is skipped and never billed."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.remedies.frames import CATALOG, EPOCH_NOW, NOW
from workers.kernel.codes import Code
from workers.offline.repair_files import PlanSummary, plan_file
from workers.offline.survey import PlanOptions
from workers.records.identifiers import origin_of, revision_identifier
from workers.remedies import Rules

HEADER = ["identifier", "timestamp", "event_name", "payload_stripe_customer_id", "payload_value"]
SOUND = {"timestamp": str(EPOCH_NOW - 60), "event_name": "api_calls", "payload_stripe_customer_id": "cus_known"}
REFUSED = {
    Code.NO_METER: {"event_name": " api_calls "},
    Code.CUSTOMER_NOT_FOUND: {"payload_stripe_customer_id": " cus_known "},
    Code.INVALID_VALUE: {"payload_value": " 5 "},
    Code.TIMESTAMP_IN_FUTURE: {"timestamp": f"{EPOCH_NOW - 60}000"},
    "malformed_record": {"timestamp": "2026-11-21T11:00:00Z"},
    "": {"timestamp": "2026-11-21T11:00:00Z"},
}
"""What is repaired without doubt, by the code that Stripe gave; the last two were refused for their form."""
STUCK: Mapping[str, Mapping[str, str]] = {Code.DIMENSION_COUNT_TOO_HIGH: {}}
"""What waits for a person."""


def write_failed(path: Path, records: Sequence[tuple[str, str]]) -> Path:
    """Write a failed-records file of (identifier, code)."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*HEADER, "error_code", "error_message"])
        writer.writeheader()
        for identifier, code in records:
            refused = {**SOUND, "payload_value": "5", **{**REFUSED, **STUCK}[code], "identifier": identifier}
            writer.writerow({**refused, "error_code": code, "error_message": "refused"})
    return path


def repair(path: Path | Sequence[Path], out: Path, **options: object) -> PlanSummary:
    chosen = PlanOptions(**options)  # type: ignore[arg-type]
    return plan_file(path, catalog=CATALOG, rules=Rules(), now=NOW, out=out, options=chosen)


def rows_in(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def identifiers(out: Path) -> list[str]:
    return [row["identifier"] for row in rows_in(out / "corrected.csv")]


@pytest.mark.parametrize("code", REFUSED)
@pytest.mark.parametrize(("given", "following"), [("g1", "g1~r2"), ("g1~r2", "g1~r3")])
def test_what_was_refused_for_its_data_gets_the_next_identifier(
    tmp_path: Path, code: str, given: str, following: str
) -> None:
    """Stripe took it in and refused it later: for a day it skips whatever comes under the same identifier."""
    summary = repair(write_failed(tmp_path / "failed.csv", [(given, code)]), tmp_path / "out")
    for_data = code in set(Code)
    assert identifiers(tmp_path / "out") == [following if for_data else given]
    assert summary.outcomes.revised == int(for_data)
    changes = {row["column"]: row for row in rows_in(tmp_path / "out" / "changes.csv")}
    assert ("identifier" in changes) == for_data
    if for_data:
        change = changes["identifier"]
        assert (change["before"], change["after"], change["remedy"]) == (given, following, "next_revision")


@pytest.mark.parametrize("header", ["code", "why", "error_type", "status"])
@pytest.mark.parametrize("kind", [None, "failed-records"])
def test_usage_is_not_lost_as_a_duplicate_whatever_the_column_of_codes_is_called(
    tmp_path: Path, header: str, kind: str | None
) -> None:
    failed = write_failed(tmp_path / "failed.csv", [("a", Code.NO_METER), ("b", Code.INVALID_VALUE)])
    failed.write_text(failed.read_text().replace("error_code,error_message", f"{header},note"))
    repair(failed, tmp_path / "out", kind=kind)
    assert identifiers(tmp_path / "out") == ["a~r2", "b~r2"]


@pytest.mark.parametrize(
    ("refused_for", "expected"),
    [("data", ["a~r2", "b~r2"]), ("form", ["a", "b"]), (None, ["a", "b~r2"])],
)
def test_who_knows_why_stripe_refused_can_say_so(
    tmp_path: Path, refused_for: str | None, expected: Sequence[str]
) -> None:
    """A list with free texts and no codes does not tell."""
    failed = write_failed(tmp_path / "failed.csv", [("a", ""), ("b", Code.NO_METER)])
    repair(failed, tmp_path / "out", refused_for=refused_for)
    assert identifiers(tmp_path / "out") == expected


LONG = "x" * 97
LONG_REVISED = revision_identifier(LONG, 2)
SHOWN: Mapping[str, tuple[Sequence[tuple[str, str]], Sequence[str]]] = {
    "its own revision": ([("g", Code.NO_METER), ("g~r2", Code.NO_METER)], ["g~r3"]),
    "its own revision first": ([("g~r2", Code.NO_METER), ("g", Code.NO_METER)], ["g~r3"]),
    "a late revision": ([("g", Code.NO_METER), ("g~r7", Code.NO_METER), ("g~r2", Code.NO_METER)], ["g~r8"]),
    "one refused for its form": ([("g", Code.NO_METER), ("g~r2", "")], ["g~r3"]),
    "one with another quantity": ([("g", Code.NO_METER), ("g~r2", Code.INVALID_VALUE)], ["g~r3"]),
    "one that waits itself": ([("g", Code.NO_METER), ("g~r2", Code.DIMENSION_COUNT_TOO_HIGH)], ["g~r3"]),
    "of two records one": ([("g", Code.NO_METER), ("h", Code.NO_METER), ("g~r2", "")], ["g~r3", "h~r2"]),
    "the revision of a long one": ([(LONG, Code.NO_METER), (LONG_REVISED, "")], [revision_identifier(LONG, 3)]),
    "only itself, twice": ([("g", Code.NO_METER), ("g", Code.INVALID_VALUE)], ["g~r2"]),
    "what looks like one": ([("g", Code.NO_METER), ("g~r02", "")], ["g~r2", "g~r02"]),
}


@pytest.mark.parametrize(("records", "sent"), SHOWN.values(), ids=SHOWN)
@pytest.mark.parametrize("files", [1, 2])
def test_usage_is_not_lost_under_a_revision_that_the_files_show_as_taken(
    tmp_path: Path, records: Sequence[tuple[str, str]], sent: Sequence[str], files: int
) -> None:
    """`g~r2` was refused for its data as well, so Stripe may hold it: `g`, sent so, would be skipped."""
    portions = [records] if files == 1 else [records[:1], records[1:]]
    paths = [write_failed(tmp_path / f"failed-{n}.csv", portion) for n, portion in enumerate(portions)]
    summary = repair(paths, tmp_path / "out", part_bytes=1)
    assert identifiers(tmp_path / "out") == sent
    assert not [shown for surveyed in summary.surveys for shown in surveyed.differences.shown
                if "identifier" in shown.columns]  # fmt: skip


@pytest.mark.parametrize("options", [{"new_identifiers": True}, {"refused_for": "data"}])
@pytest.mark.parametrize("value", ["5", '"1,234,567"'])
def test_two_records_of_a_usage_file_do_not_share_the_next_identifier(
    tmp_path: Path, options: Mapping[str, object], value: str
) -> None:
    """Stripe would take in one of them and skip the other."""
    usage = tmp_path / "usage.csv"
    rest = f"{SOUND['timestamp']},api_calls,cus_known,{value}"
    usage.write_text(f"{','.join(HEADER)}\na,{rest}\na~r2,{rest}\n")
    repair(usage, tmp_path / "out", **options)
    revised = value != "5" or "new_identifiers" in options
    assert identifiers(tmp_path / "out") == ["a~r3" if revised else "a"]


def test_a_record_without_an_identifier_gets_the_one_that_it_always_gets(tmp_path: Path) -> None:
    repair(write_failed(tmp_path / "failed.csv", [("", Code.NO_METER)]), tmp_path / "out")
    (made,) = identifiers(tmp_path / "out")
    assert made.startswith("mm-")
    assert "~r" not in made


def test_new_identifiers_are_not_advanced_twice(tmp_path: Path) -> None:
    failed = write_failed(tmp_path / "failed.csv", [("a", Code.NO_METER)])
    repair(failed, tmp_path / "out", new_identifiers=True)
    assert identifiers(tmp_path / "out") == ["a~r2"]


def test_what_waits_for_a_person_keeps_the_senders_identifier(tmp_path: Path) -> None:
    """The person looks it up at Stripe and in the sender's own books."""
    failed = write_failed(tmp_path / "failed.csv", [("a", Code.NO_METER)])
    failed.write_text(failed.read_text().replace(" api_calls ", "storage"))
    repair(failed, tmp_path / "out")
    assert [row["identifier"] for row in rows_in(tmp_path / "out" / "quarantine.csv")] == ["a"]


def test_sound_records_of_a_usage_file_keep_theirs(tmp_path: Path) -> None:
    """They were counted: under another identifier they would be billed twice."""
    usage = tmp_path / "usage.csv"
    time, rest = SOUND["timestamp"], "api_calls,cus_known"
    usage.write_text(f'{",".join(HEADER)}\na,{time},{rest},5\nb,{time},{rest},"1,234,567"\n')
    repair(usage, tmp_path / "out", refused_for="data")
    assert identifiers(tmp_path / "out") == ["a", "b~r2"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "a~r2", "a~r3", "b", "b~r2", "a~r02"]), st.sampled_from(list(REFUSED))),
        min_size=1,
        max_size=6,
    )
)
def test_no_two_records_go_out_under_one_identifier(tmp_path: Path, records: Sequence[tuple[str, str]]) -> None:
    """`a` must not take the identifier of `a~r2`, nor may both be sent: they are one record."""
    repair(write_failed(tmp_path / "failed.csv", records), tmp_path / "out")
    out = identifiers(tmp_path / "out")
    origins = [origin_of(identifier)[0] for identifier in out]
    assert len(origins) == len(set(origins))
    kept = {identifier for identifier, code in records if code not in set(Code)}
    assert not (set(out) - kept) & {identifier for identifier, _ in records}, "one that Stripe may hold"
