"""The real Stripe CLI, unchanged, does against the twin what it does against Stripe: a newcomer types it first."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.stripe_hosts.authority import speak_as_stripe
from fixtures.stripe_hosts.proxy import Proxy
from fixtures.twin import Twin
from tests.by_npm import stripe_cli
from workers.cli.demo.stripe_cli import cli_variables

FIXTURES = Path(__file__).parents[3] / "fixtures" / "cli"

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


@pytest.fixture
def environment(twin: Twin, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What the CLI needs to take the twin for Stripe; what it sends as usage is logged in `tmp_path/log`."""
    (tmp_path / "log").mkdir()
    with Proxy(0, twin.url, speak_as_stripe(tmp_path / "ca.pem"), tmp_path / "log") as proxy:
        serving = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        variables = cli_variables(f"http://127.0.0.1:{proxy.server_port}", tmp_path / "ca.pem")
        yield {**variables, "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        proxy.shutdown()
        serving.join()


@pytest.mark.parametrize(
    ("command", "what", "refused"),
    [
        ("trigger", "v1.billing.meter.error_report_triggered", {"meter_event_no_customer_defined": 1}),
        ("trigger", "v1.billing.meter.no_meter_found", {"no_meter": 1}),
        ("trigger", str(FIXTURES / "error_report_triggered.json"), {"meter_event_no_customer_defined": 1}),
        ("fixtures", str(FIXTURES / "no_meter_found.json"), {"no_meter": 1}),
        ("fixtures", str(FIXTURES / "bad_day.json"), ONE_BAD_DAY),
    ],
)
def test_what_is_triggered_is_refused_told_and_in_the_log_of_who_sent_it(
    twin: Twin, environment: dict[str, str], tmp_path: Path, command: str, what: str, refused: dict[str, int]
) -> None:
    """Were it in no log, a triggered failure could only be shown to a person, and never seen repaired."""
    done = subprocess.run(
        [stripe_cli(), command, what],
        check=False, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert twin.account().usage.refused_by_code() == refused
    twin.publish()
    told = {event.type for event in twin.events()}
    assert ("v1.billing.meter.no_meter_found" in told) == ("no_meter" in refused)
    assert ("v1.billing.meter.error_report_triggered" in told) == (set(refused) != {"no_meter"})
    logged = [json.loads(line) for file in (tmp_path / "log").iterdir() for line in file.read_text().splitlines()]
    assert len(logged) == sum(refused.values()) + len(list(twin.accepted()))
    assert all(isinstance(line["timestamp"], int) for line in logged)
