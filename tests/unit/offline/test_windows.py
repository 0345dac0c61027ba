"""Pre-aggregated meters offline: where one value of a window waits, no other becomes the one that is billed."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.remedies.frames import NOW
from workers.offline.repair_files import PlanSummary, plan_file
from workers.offline.survey import PlanOptions
from workers.records.catalog import Catalog, Meter
from workers.remedies import Rules

HEADER = ["identifier", "timestamp", "event_name", "payload_stripe_customer_id", "payload_value"]
HOUR = 1_795_255_200
"""The first second of an hour, and not of a day."""
CATALOG = Catalog(
    meters=(
        Meter("storage_gb", event_time_window="hour"),
        Meter("seats", event_time_window="day", customer_column="payload_team", value_column="payload_seats"),
        Meter("api_calls"),
    ),
    customers=pl.Series(["cus_a", "cus_b"]),
)

Row = tuple[str, str, str, str, str]


def value(name: str, second: int | str, quantity: str, customer: str = "cus_a", meter: str = "storage_gb") -> Row:
    """Return a row; an int is the second of the hour."""
    return (name, str(HOUR + second) if isinstance(second, int) else second, meter, customer, quantity)


def write(path: Path, rows: Sequence[Row], *, message: str | None = None) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER if message is None else [*HEADER, "error_message"])
        writer.writerows(row if message is None else (*row, message) for row in rows)
    return path


def repair(folder: Path, *paths: Path, catalog: Catalog = CATALOG, part_bytes: int = 1 << 20) -> PlanSummary:
    options = PlanOptions(part_bytes=part_bytes)
    return plan_file(paths, catalog=catalog, rules=Rules(), now=NOW, out=folder / "out", options=options)


def names(folder: Path, file: str) -> list[str]:
    path = folder / "out" / file
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return [row["identifier"] for row in csv.DictReader(stream)]


def test_an_older_value_does_not_go_while_the_newer_one_waits(tmp_path: Path) -> None:
    """40 alone would become the hour's value and stay it, though 1050 (or 1.05) was used last."""
    rows = [value("w1", 300, " 40 "), value("w2", 1800, "1,050"), value("w3", 1900, " 7 ", "cus_b")]
    failed = write(tmp_path / "failed.csv", rows, message="payload_value must be numeric")
    summary = repair(tmp_path, failed)
    assert names(tmp_path, "corrected.csv") == ["w3"]
    assert names(tmp_path, "quarantine.csv") == ["w1", "w2"]
    with (tmp_path / "out" / "quarantine.csv").open(newline="") as stream:
        held = next(csv.DictReader(stream))
    assert (held["reason"], held["payload_value"]) == ("would_overwrite", " 40 "), "as the sender wrote it"
    assert summary.as_json()["quantity"]["quarantined"] == "40"


STOPS: Mapping[str, Sequence[Row]] = {
    "the waiting one is older": [value("w1", 1800, "40"), value("w2", 300, "1,050")],
    "the waiting one stands first": [value("w2", 1800, "1,050"), value("w1", 300, "40")],
    "between two sound ones": [value("w1", 1, "40"), value("w2", 2, "1,050"), value("w3", 3, "50")],
    "its time has to be repaired": [value("w1", 300, "40"), value("w2", "2026-11-21T10:30:00Z", "1,050")],
    "both times have to be repaired": [
        value("w1", "2026-11-21T10:05:00Z", "40"),
        value("w2", "2026-11-21T10:30:00Z", "1,050"),
    ],
    "milliseconds": [value("w1", 300, "40"), value("w2", f"{HOUR + 1800}000", "1,050")],
    "its time cannot be read": [value("w1", 300, "40"), value("w2", "soon", "41")],
    "its customer has to be repaired": [value("w1", 300, "40"), value("w2", 1800, "1,050", " cus_a ")],
    "its event name has to be repaired": [
        value("w1", 300, "40"),
        value("w2", 1800, "1,050", meter=" storage_gb "),
    ],
    "it has no quantity": [value("w1", 300, "40"), value("w2", 1800, "")],
    "the other one is repaired": [value("w1", 300, " 40 "), value("w2", 1800, "1,050")],
    "one identifier, two quantities": [value("w1", 300, "40"), value("w1", 1800, "41")],
}


@pytest.mark.parametrize("rows", STOPS.values(), ids=STOPS.keys())
def test_of_the_values_of_one_window_all_wait_where_one_does(tmp_path: Path, rows: Sequence[Row]) -> None:
    repair(tmp_path, write(tmp_path / "usage.csv", rows), part_bytes=1)
    assert names(tmp_path, "corrected.csv") == []
    assert names(tmp_path, "quarantine.csv") == [row[0] for row in rows]


GOES: Mapping[str, tuple[Sequence[Row], Sequence[str]]] = {
    "all are sound": ([value("w1", 300, "40"), value("w2", 1800, "50")], ["w1", "w2"]),
    "another hour": ([value("w1", 300, "40"), value("w2", 3600, "1,050")], ["w1"]),
    "another customer": ([value("w1", 300, "40"), value("w2", 1800, "1,050", "cus_b")], ["w1"]),
    "another meter": ([value("w1", 300, "40"), value("w2", 300, "1,050", meter="api_calls")], ["w1"]),
    "a meter that sums": (
        [value("a1", 300, "40", meter="api_calls"), value("a2", 301, "1,050", meter="api_calls")],
        ["a1"],
    ),
    "told twice under one identifier": ([value("w1", 300, "40"), value("w1", 300, "40")], ["w1"]),
}


@pytest.mark.parametrize(("rows", "expected"), GOES.values(), ids=GOES.keys())
def test_what_shares_no_window_with_one_that_waits_goes_out(
    tmp_path: Path, rows: Sequence[Row], expected: Sequence[str]
) -> None:
    """Held back without need, it is revenue that nobody invoices."""
    repair(tmp_path, write(tmp_path / "usage.csv", rows))
    assert names(tmp_path, "corrected.csv") == list(expected)


def test_a_value_that_waits_in_another_file_counts_too(tmp_path: Path) -> None:
    morning = write(tmp_path / "morning.csv", [value("w1", 300, "40"), value("w3", 300, "5", "cus_b")])
    evening = write(tmp_path / "evening.csv", [value("w2", 1800, "1,050")])
    repair(tmp_path, morning, evening)
    assert names(tmp_path, "corrected.csv") == ["w3"]


def test_a_day_and_keys_of_the_meters_own_are_read(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    line = (
        '{{"identifier": "{}", "timestamp": {}, "event_name": "seats", "payload": {{"team": "{}", "seats": "{}"}}}}'
    )
    rows = [("d1", HOUR, "cus_a", "40"), ("d2", HOUR + 7200, "cus_a", "1,050"), ("d3", HOUR, "cus_b", "3")]
    path.write_text("\n".join(line.format(*row) for row in rows) + "\n")
    repair(tmp_path, path)
    assert names(tmp_path, "corrected.csv") == ["d3"]


def test_without_meters_nothing_is_known_of_windows(tmp_path: Path) -> None:
    usage = write(tmp_path / "usage.csv", [value("w1", 300, "40"), value("w2", 1800, "1,050")])
    repair(tmp_path, usage, catalog=Catalog())
    assert names(tmp_path, "corrected.csv") == ["w1"]


QUANTITIES = {"5": True, " 5 ": True, "1,234": False, "": False}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["cus_a", "cus_b"]), st.sampled_from(list(QUANTITIES))),
        min_size=1,
        max_size=12,
    ),
    part_bytes=st.integers(1, 400),
)
def test_a_window_is_sent_whole_or_not_at_all(
    tmp_path: Path, drawn: Sequence[tuple[int, str, str]], part_bytes: int
) -> None:
    """Whatever the cut: what goes out are the values of the windows in which every value can go."""
    rows = [
        value(f"w{n}", hour * 3600 - 7200 + n, quantity, customer)
        for n, (hour, customer, quantity) in enumerate(drawn)
    ]
    waiting = {(hour, customer) for hour, customer, quantity in drawn if not QUANTITIES[quantity]}
    repair(tmp_path, write(tmp_path / "usage.csv", rows), part_bytes=part_bytes)
    free = [f"w{n}" for n, (hour, customer, _) in enumerate(drawn) if (hour, customer) not in waiting]
    assert names(tmp_path, "corrected.csv") == free
