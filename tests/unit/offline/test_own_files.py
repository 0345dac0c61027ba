"""quarantine.csv and deferred.csv given back to `repair`: what somebody mended is billed, and nothing else."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.unit.remedies.frames import CATALOG, EPOCH_NOW, NOW
from workers.kernel.clock import from_text, to_text
from workers.kernel.codes import Code
from workers.offline.repair_files import PlanSummary, plan_file
from workers.offline.survey import Kind, PlanOptions
from workers.records.files.layout import ReadOptions
from workers.remedies import Rules, load_rules

Row = dict[str, str]
HEADER = ["identifier", "timestamp", "event_name", "payload_stripe_customer_id", "payload_value"]
TIME = str(EPOCH_NOW - 60)


def record(identifier: str, value: str = "5", **cells: str) -> Row:
    sound = {"timestamp": TIME, "event_name": "api_calls", "payload_stripe_customer_id": "cus_known"}
    return {"identifier": identifier, **sound, "payload_value": value, **cells}


def write(path: Path, rows: Sequence[Row]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def repair(
    paths: Path | Sequence[Path], out: Path, *, kind: Kind | None = None, now: str | None = None
) -> PlanSummary:
    moment = NOW if now is None else from_text(now)
    return plan_file(paths, catalog=CATALOG, rules=Rules(), now=moment, out=out, options=PlanOptions(kind=kind))


def sent(out: Path) -> list[tuple[str, str]]:
    return [(row["identifier"], row["payload_value"]) for row in read(out / "corrected.csv")]


def given_back(tmp_path: Path, rows: Sequence[Row], mend: Callable[[Row], Row]) -> PlanSummary:
    """Repair the rows, mend what is quarantined, and repair that; its outcome lies in `again`."""
    repair(write(tmp_path / "given.csv", rows), tmp_path / "first")
    kept = read(tmp_path / "first" / "quarantine.csv")
    return repair(write(tmp_path / "mended.csv", [mend(row) for row in kept]), tmp_path / "again")


def as_it_is(row: Row) -> Row:
    return row


def cell(column: str, text: str) -> Callable[[Row], Row]:
    return lambda row: {**row, column: text}


USAGE: Mapping[str, tuple[Sequence[Row], Callable[[Row], Row], Sequence[tuple[str, str]]]] = {
    "a quantity": ([record("a", "lots")], cell("payload_value", "7"), [("a", "7")]),
    "a time": ([record("a", timestamp="soon")], cell("timestamp", TIME), [("a", "5")]),
    "a customer": (
        [record("a", payload_stripe_customer_id="cus_who")],
        cell("payload_stripe_customer_id", "cus_known"),
        [("a", "5")],
    ),
    "an event name": ([record("a", event_name="nobody")], cell("event_name", "api_calls"), [("a", "5")]),
    "what is mended, and leaves no doubt": ([record("a", "lots")], cell("payload_value", " 7 "), [("a", "7")]),
    "another identifier": ([record("a"), record("a", "6")], cell("identifier", "b"), [("b", "6")]),
    "a column of its own called code": (
        [record("a", "lots", code="mine", reason="theirs")],
        cell("payload_value", "7"),
        [("a", "7")],
    ),
}


@pytest.mark.parametrize(("rows", "mend", "expected"), USAGE.values(), ids=USAGE)
def test_usage_that_somebody_mended_is_billed_under_its_own_identifier(
    tmp_path: Path, rows: Sequence[Row], mend: Callable[[Row], Row], expected: Sequence[tuple[str, str]]
) -> None:
    """Taken for refusals of Stripe's it waited for ever, or went out as another record."""
    given_back(tmp_path, rows, mend)
    assert sent(tmp_path / "again") == expected
    assert read(tmp_path / "again" / "quarantine.csv") == []


REFUSED: Mapping[str, tuple[Row, Callable[[Row], Row], Sequence[tuple[str, str]]]] = {
    "a quantity": (
        record("a", "lots", error_code=Code.INVALID_VALUE),
        cell("payload_value", "7"),
        [("a~r2", "7")],
    ),
    "a customer": (
        record("a", payload_stripe_customer_id="cus_who", error_code=Code.CUSTOMER_NOT_FOUND),
        cell("payload_stripe_customer_id", "cus_known"),
        [("a~r2", "5")],
    ),
    "what showed no fault": (
        record("a", error_code=Code.INVALID_VALUE),
        cell("payload_value", "6"),
        [("a~r2", "6")],
    ),
    "a revision": (
        record("a~r2", "lots", error_code=Code.INVALID_VALUE),
        cell("payload_value", "7"),
        [("a~r3", "7")],
    ),
    "what was refused for its form": (
        record("a", timestamp="soon", error_message="timestamp is no number"),
        cell("timestamp", TIME),
        [("a", "5")],
    ),
}


@pytest.mark.parametrize(("row", "mend", "expected"), REFUSED.values(), ids=REFUSED)
def test_usage_that_stripe_refused_and_somebody_mended_is_not_lost_under_its_old_identifier(
    tmp_path: Path, row: Row, mend: Callable[[Row], Row], expected: Sequence[tuple[str, str]]
) -> None:
    """Nor if it was given as a list that says so in an option only."""
    given_back(tmp_path, [row], mend)
    assert sent(tmp_path / "again") == expected
    hidden = {name.replace("error_", "their_"): text for name, text in row.items()}
    options = PlanOptions(kind="failed-records", reading=ReadOptions(code_column="their_code"))
    if "their_code" in hidden:
        path = write(tmp_path / "declared.csv", [hidden])
        plan_file(path, catalog=CATALOG, rules=Rules(), now=NOW, out=tmp_path / "declared", options=options)
        kept = read(tmp_path / "declared" / "quarantine.csv")
        repair(write(tmp_path / "mended.csv", list(map(mend, kept))), tmp_path / "again")
        assert sent(tmp_path / "again") == expected


WAITING: Mapping[str, Sequence[Row]] = {
    "a quantity with no reading": [record("a", "lots")],
    "a quantity with two readings in its file": [record("a", "12,5"), record("b", "1.234")],
    "with a second fault": [record("a", "12,5"), record("b", "1.234", timestamp="soon")],
    "a repeated identifier": [record("a"), record("a", "6")],
    "an equal record": [record("a"), record("a")],
    "a customer in a column that holds others": [
        record("a", account="acct_9"),
        record("b", payload_stripe_customer_id="", account="cus_known"),
    ],
    "one that Stripe refused, without a fault": [record("a", error_code=Code.INVALID_VALUE)],
    "one that Stripe refused with a code of tomorrow": [record("a", error_code="tomorrow")],
    "one whose identifier Stripe holds": [record("a", error_message="An event already exists with identifier a.")],
    "rows that contradict each other": [
        record("a", error_code=Code.INVALID_VALUE, row="1"),
        record("a", "6", error_code=Code.INVALID_VALUE, row="1"),
    ],
    "a row without identifier that is told twice": [
        record("", " 5 ", error_code=Code.INVALID_VALUE),
        record("", " 5 ", error_code=Code.INVALID_VALUE),
    ],
}


@pytest.mark.parametrize("rows", WAITING.values(), ids=WAITING)
def test_money_is_not_guessed_since_a_record_that_waits_looks_sound_alone(
    tmp_path: Path, rows: Sequence[Row]
) -> None:
    """The rows that spoke against it are in another file now; nobody has mended anything."""
    given_back(tmp_path, rows, as_it_is)
    repair(tmp_path / "again" / "quarantine.csv", tmp_path / "third")
    first = read(tmp_path / "first" / "quarantine.csv")
    told = ("identifier", "reason", "faults", "refused_as", "digest")
    for out in ("again", "third"):
        again = read(tmp_path / out / "quarantine.csv")
        assert sent(tmp_path / out) == []
        assert [[row[name] for name in told] for row in again] == [[row[name] for name in told] for row in first]


def test_a_rule_says_how_a_record_is_read_that_waited_for_its_file(tmp_path: Path) -> None:
    told = tmp_path / "rules.toml"
    told.write_text('[[values]]\ndecimal_comma = true\nthousands = "."\n')
    repair(write(tmp_path / "given.csv", [record("a", "12,5"), record("b", "1.234")]), tmp_path / "first")
    kept = tmp_path / "first" / "quarantine.csv"
    plan_file(kept, catalog=CATALOG, rules=load_rules(told), now=NOW, out=tmp_path / "again")
    assert ("b", "1234") in sent(tmp_path / "again")


def test_records_of_usage_and_of_refusals_that_wait_in_one_file_are_each_judged_as_they_came(
    tmp_path: Path,
) -> None:
    usage = write(tmp_path / "usage.csv", [record("a", "lots"), record("b", "many")])
    failed = write(tmp_path / "failed.csv", [record("c", "lots", error_code=Code.INVALID_VALUE)])
    repair([usage, failed], tmp_path / "first")
    kept = [{**row, "payload_value": "7"} for row in read(tmp_path / "first" / "quarantine.csv")]
    repair(write(tmp_path / "mended.csv", kept), tmp_path / "again")
    assert sent(tmp_path / "again") == [("a", "7"), ("b", "7"), ("c~r2", "7")]
    repair(tmp_path / "mended.csv", tmp_path / "as-usage", kind="usage")
    assert sent(tmp_path / "as-usage") == [("a", "7"), ("b", "7"), ("c", "7")]


@pytest.mark.parametrize("code", [None, Code.TIMESTAMP_IN_FUTURE, Code.INVALID_VALUE])
def test_what_was_deferred_is_billed_when_its_time_has_come_and_once(tmp_path: Path, code: str | None) -> None:
    """It has been mended, and has the identifier that it is to have."""
    refused = {} if code is None else {"error_code": code}
    rows = [record("a", " 5 ", timestamp=str(EPOCH_NOW + 7200), **refused)]
    repair(write(tmp_path / "given.csv", rows), tmp_path / "first")
    deferred = tmp_path / "first" / "deferred.csv"
    repair(deferred, tmp_path / "early")
    assert sent(tmp_path / "early") == []
    later = to_text(NOW.replace(day=NOW.day + 1))
    for file in (deferred, tmp_path / "early" / "deferred.csv"):
        repair(file, tmp_path / "late", now=later)
        assert sent(tmp_path / "late") == [("a" if code is None else "a~r2", "5")]


def test_an_apostrophe_that_we_put_before_a_cell_is_said(tmp_path: Path) -> None:
    """Sent with it, a record is another one, or of nobody's customer."""
    rows = [record("=a", "lots"), record("b", "lots", payload_stripe_customer_id="+cus"), record("'c", "lots")]
    summary = given_back(tmp_path, rows, as_it_is)
    said = {finding.slug: finding.text for finding in summary.surveys[0].findings}
    assert "own_file" in said
    assert "puts before a formula: 2;" in said["own_apostrophes"]
    assert "own_apostrophes" not in {
        finding.slug for finding in given_back(tmp_path, [record("a", "lots")], as_it_is).surveys[0].findings
    }


def test_a_file_of_ours_keeps_its_shape_however_often_it_is_repaired(tmp_path: Path) -> None:
    given_back(tmp_path, [record("a", "lots", code="mine")], as_it_is)
    repair(tmp_path / "again" / "quarantine.csv", tmp_path / "third")
    headers = [list(read(tmp_path / out / "quarantine.csv")[0]) for out in ("first", "again", "third")]
    assert headers[0] == headers[1] == headers[2]
