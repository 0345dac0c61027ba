"""The real Stripe CLI drives the loop: what an engineer does by hand to see the service work."""

import itertools
import json
import re
import subprocess
import time
from pathlib import Path

import pytest
import requests

from tests.by_npm import stripe_cli
from tests.system.house import KEY, House

pytestmark = [pytest.mark.xdist_group("house"), pytest.mark.stripe_cli]


def test_stripe_fixtures_drives_the_loop_to_its_end(house: House, tmp_path: Path) -> None:
    """`stripe fixtures` sends usage that Stripe refuses; what can be repaired must be billed in the end."""
    house.come_to_rest()
    before, refused_before = house.records(), _refused(house)
    fixture = _named(house, tmp_path)
    _log_what_will_be_sent(house, fixture)
    _run(house, fixture)
    refused = _refused(house) - refused_before
    assert refused >= 6
    house.until(lambda: house.records()["failed"] == before["failed"] + refused, "every refusal seen")
    house.come_to_rest()
    equation = house.proof()["equation"]
    confirmed, quarantined = (
        equation[bucket]["records"] - before[bucket] for bucket in ("confirmed", "quarantined")
    )
    assert confirmed >= 1
    assert confirmed + quarantined == refused


def _refused(house: House) -> int:
    return len(requests.get(f"{house.twin}/_control/refused", timeout=10).text.splitlines())


def _named(house: House, folder: Path) -> Path:
    """Copy the fixture file for this twin, with what a sender would know: his identifiers and his customer."""
    numbers = itertools.count(1)
    text = Path("fixtures/cli/bad_day.json").read_text().replace("http://127.0.0.1:12111", house.twin)
    text = text.replace("${customer:id}", "cus_1")
    named = re.sub(re.escape("${generate-uuid}"), lambda _: f"cli-{next(numbers)}", text)
    path = folder / "bad_day.json"
    path.write_text(named)
    return path


def _run(house: House, fixture: Path) -> None:
    done = subprocess.run(
        [stripe_cli(), "fixtures", str(fixture), "--api-base", house.twin, "--api-key", KEY],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "HOME": str(fixture.parent)},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _log_what_will_be_sent(house: House, fixture: Path) -> None:
    """Write the sender's log of his calls before he calls: a later file cannot be what Stripe refused."""
    text = fixture.read_text().replace('"${time-now-RFC3339}"', str(int(time.time())))
    steps = [step for step in json.loads(text)["fixtures"] if step["path"].endswith("meter_event_stream")]
    calls = [json.dumps(event) for step in steps for event in step["params"]["events"]]
    (house.sources / "calls.jsonl").write_text("\n".join(calls) + "\n")
