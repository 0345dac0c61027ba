"""The real Stripe CLI runs our fixture files against the twin, so the twin speaks what Stripe's own tool speaks."""

import os
import subprocess
from pathlib import Path

import pytest

from fixtures.twin import Twin
from tests.by_npm import stripe_cli

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "fixtures" / "cli"
DEFAULT_URL = "http://127.0.0.1:12111"

pytestmark = pytest.mark.stripe_cli

ONE_BAD_DAY = {
    "archived_meter": 1,
    "meter_event_customer_not_found": 2,
    "meter_event_invalid_value": 1,
    "meter_event_no_customer_defined": 1,
    "meter_event_value_not_found": 1,
    "meter_event_value_too_many_digits": 1,
    "no_meter": 1,
    "timestamp_in_future": 1,
    "timestamp_too_far_in_past": 1,
}


def _run(twin: Twin, command: str, file: str, folder: Path) -> None:
    """Run `file` with its steps sent to this twin's port, as a copy: a step's address wins over the flag."""
    copy = folder / file
    copy.write_text((FOLDER / file).read_text().replace(DEFAULT_URL, twin.url))
    arguments = [stripe_cli(), command, str(copy), "--api-base", twin.url, "--api-key", "sk_test_localmock1"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "STRIPE_CLI_TELEMETRY_OPTOUT": "1"}
    done = subprocess.run(
        arguments, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", ["fixtures", "trigger"])
@pytest.mark.parametrize(
    ("file", "refused"),
    [
        ("error_report_triggered.json", {"meter_event_no_customer_defined": 1}),
        ("no_meter_found.json", {"no_meter": 1}),
        ("bad_day.json", ONE_BAD_DAY),
    ],
)
def test_a_fixture_file_brings_about_what_it_is_named_for(
    twin: Twin, tmp_path: Path, command: str, file: str, refused: dict[str, int]
) -> None:
    _run(twin, command, file, tmp_path)
    assert twin.account().usage.refused_by_code() == refused
    twin.publish()
    told = {event.type for event in twin.events()}
    assert ("v1.billing.meter.no_meter_found" in told) == ("no_meter" in refused)
    assert ("v1.billing.meter.error_report_triggered" in told) == (set(refused) != {"no_meter"})
