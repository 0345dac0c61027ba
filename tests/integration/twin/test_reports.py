"""Error reports: one for a meter and a window, samples only, late, and in every shape that is known."""

from pathlib import Path
from typing import Any

import pytest

from fixtures.twin import Twin
from tests.integration.twin.usage import csv, line

REPORT = "v1.billing.meter.error_report_triggered"
NO_METER = "v1.billing.meter.no_meter_found"
START = 1_795_176_003.0


def _upload(twin: Twin, folder: Path, *lines: str) -> None:
    path = folder / f"upload-{len(twin.account().import_sets)}.csv"
    path.write_text(csv(*lines))
    twin.import_file(path)


def _reports(twin: Twin, kind: str = REPORT) -> list[dict[str, Any]]:
    return [event.body for event in twin.events() if event.type == kind]


def test_one_report_tells_all_codes_of_a_meter_in_a_window(twin: Twin, tmp_path: Path) -> None:
    twin.clock.freeze(START)
    twin.add_meter("tokens")
    at = int(START)
    _upload(twin, tmp_path, line("a", customer="cus_x", at=at), line("b", "x", at=at))
    _upload(twin, tmp_path, line("c", "y", at=at), line("d", "y", at=at, name="tokens"))
    twin.publish()
    calls, tokens = _reports(twin)
    assert calls["data"]["reason"]["error_count"] == 3
    counts = {kind["code"]: kind["error_count"] for kind in calls["data"]["reason"]["error_types"]}
    assert counts == {"meter_event_customer_not_found": 1, "meter_event_invalid_value": 2}
    assert calls["related_object"]["url"] == f"/v1/billing/meters/{calls['related_object']['id']}"
    assert calls["data"]["developer_message_summary"] == "There are 3 invalid events"
    assert tokens["data"]["developer_message_summary"] == "There is 1 invalid event"
    assert (calls["data"]["validation_start"], calls["data"]["validation_end"]) == (
        "2026-11-20T12:00:00.000Z",
        "2026-11-20T12:00:10.000Z",
    )


def test_a_report_comes_after_its_window_and_its_lag(twin: Twin, tmp_path: Path) -> None:
    twin.configure(report_lag=30.0)
    twin.clock.freeze(START)
    _upload(twin, tmp_path, line("a", "x", at=int(START)))
    for seconds, told in [(0, 0), (36, 0), (2, 1)]:
        twin.clock.advance(seconds)
        twin.world.publish_due()
        assert len(_reports(twin)) == told


def test_a_later_window_has_a_report_of_its_own(twin: Twin, tmp_path: Path) -> None:
    twin.clock.freeze(START)
    for name in "ab":
        _upload(twin, tmp_path, line(name, "x", at=int(START)))
        twin.clock.advance(10)
    twin.publish()
    starts = [report["data"]["validation_start"] for report in _reports(twin)]
    assert starts == ["2026-11-20T12:00:00.000Z", "2026-11-20T12:00:10.000Z"]


def test_samples_are_capped_and_the_count_is_not(twin: Twin, tmp_path: Path) -> None:
    """A product that took the samples for the whole would lose the rest."""
    twin.configure(sample_cap=3)
    _upload(twin, tmp_path, *[line(f"id-{n}", "x") for n in range(20)])
    twin.publish()
    [error] = _reports(twin)[0]["data"]["reason"]["error_types"]
    assert (error["error_count"], len(error["sample_errors"])) == (20, 3)
    assert error["sample_errors"][0]["request"] == {"identifier": "id-0"}


def test_older_samples_carry_an_idempotency_key(twin: Twin, tmp_path: Path) -> None:
    twin.configure(sample_shape="older")
    _upload(twin, tmp_path, line("id-0", "x"))
    twin.publish()
    [error] = _reports(twin)[0]["data"]["reason"]["error_types"]
    assert error["sample_errors"][0]["request"] == {"id": "", "idempotency_key": "id-0"}


@pytest.mark.parametrize(("setting", "related"), [("empty", {}), ("null", None)])
def test_rows_without_a_meter_are_told_together(
    twin: Twin, tmp_path: Path, setting: str, related: dict[str, str] | None
) -> None:
    twin.clock.freeze(START)
    twin.configure(no_meter_related_object=setting)
    _upload(twin, tmp_path, line("a", name="Calls", at=int(START)), line("b", name="tokens v2", at=int(START)))
    twin.publish()
    [report] = _reports(twin, NO_METER)
    [error] = report["data"]["reason"]["error_types"]
    assert report["related_object"] == related
    assert error["sample_errors"][1]["error_message"] == "No meter was found matching event_name tokens v2."
    assert "data" not in twin.events()[-1].delivered()


def test_a_connected_account_is_named_in_the_context(twin: Twin, tmp_path: Path) -> None:
    twin.add_meter("calls", account="acct_1")
    (tmp_path / "usage.csv").write_text(csv(line("a")))
    twin.import_file(tmp_path / "usage.csv", account="acct_1")
    twin.publish()
    [report] = [event for event in twin.events("acct_1") if event.type == REPORT]
    assert report.delivered()["context"] == "acct_1"
    assert _reports(twin) == []


def test_a_paced_import_spreads_over_windows(twin: Twin, tmp_path: Path) -> None:
    """Stripe takes 10,000 rows a second, so a large file is refused in several reports."""
    twin.configure(import_pace=2.0)
    twin.clock.freeze(1_795_176_000.0)
    _upload(twin, tmp_path, *[line(f"id-{n}", "x", at=1_795_176_000) for n in range(50)])
    twin.publish()
    assert [report["data"]["reason"]["error_count"] for report in _reports(twin)] == [20, 20, 10]


def test_a_refused_record_that_is_mended_and_sent_again_counts_once(twin: Twin, tmp_path: Path) -> None:
    twin.configure(refused_hold_identifier=False)
    _upload(twin, tmp_path, line("a", "1 000"))
    _upload(twin, tmp_path, line("a", "1000"))
    _upload(twin, tmp_path, line("a", "1000"))
    assert [(billed["total"], billed["records"]) for billed in twin.billed()] == [("1000", 1)]
