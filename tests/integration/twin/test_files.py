"""The committed usage, imported at its moment, fails as its docstring and its failed-records files say."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from fixtures.twin import Twin

FOLDER = Path(__file__).parents[3] / "fixtures" / "files"
MOMENT = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
REFUSED = {
    "use-03": "meter_event_customer_not_found",
    "use-04": "meter_event_no_customer_defined",
    "use-05": "meter_event_invalid_value",
    "use-06": "timestamp_in_future",
    "use-07": "timestamp_too_far_in_past",
    "use-08": "no_meter",
    "use-09": "archived_meter",
    "use-10": "meter_event_value_not_found",
    "use-13": "meter_event_value_too_many_digits",
}


@pytest.mark.parametrize("shape", ["csv", "json", "jsonl"])
def test_each_shape_is_refused_alike(twin: Twin, shape: str) -> None:
    twin.clock.freeze(MOMENT)
    twin.add_meter("ai_search_api")
    twin.add_meter("old_api")["status"] = "inactive"
    twin.add_customers(["cus_Known", "cus_Other"])
    import_set = twin.import_file(FOLDER / f"usage.{shape}")
    assert {refusal.identifier: refusal.code for refusal in twin.refused()} == REFUSED
    assert [(billed["customer"], billed["total"]) for billed in twin.billed()] == [
        ("cus_Known", "212.5"),
        ("cus_Other", "-14"),
    ]
    failed = (twin.world.folder / import_set["result"]["errors"]["file"]).read_text()
    committed = (FOLDER / f"failed-records.{shape}").read_text()
    assert failed.split() == committed.split()
