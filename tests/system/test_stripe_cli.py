"""The real Stripe CLI drives the loop: what an engineer does by hand to see the service work."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from tests.by_npm import stripe_cli
from tests.servers import free_ports
from tests.system.house import KEY, House

pytestmark = [pytest.mark.xdist_group("house"), pytest.mark.stripe_cli]

THIN = ("v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found")


def test_what_is_triggered_comes_by_stripe_listen_and_is_repaired(house: House, tmp_path: Path) -> None:
    """`stripe listen` is the one way here: what it forwards is taken and repaired, and known when it is resent."""
    house.come_to_rest()
    with _without_destinations(house), _stripe(house, tmp_path) as stripe:
        before, refused_before = house.records(), _refused(house)
        stripe.run("trigger", "fixtures/cli/bad_day.json")
        refused = _refused(house) - refused_before
        assert refused >= 6
        house.until(lambda: house.records()["failed"] == before["failed"] + refused, "every refusal seen")
        house.come_to_rest()
        listed = stripe.run("events", "list", "--limit", "1", "-d", "type=data_management.import_set.succeeded")
        resent = json.loads(listed)["data"][0]["id"]
        times = stripe.answers("snapshot").count((resent, "200"))
        stripe.run("events", "resend", resent)
        house.until(lambda: stripe.answers("snapshot").count((resent, "200")) > times, "the event resent")
    equation = house.proof()["equation"]
    moved = {name: equation[name]["records"] - before[name] for name in ("confirmed", "quarantined")}
    assert moved["confirmed"] >= 1
    assert sum(moved.values()) == refused
    answers = [*stripe.answers("thin"), *stripe.answers("snapshot")]
    assert {status for _, status in answers} == {"200"}
    assert all(name in stripe.log("thin") for name in THIN)


def _refused(house: House) -> int:
    return len(requests.get(f"{house.twin}/_control/refused", timeout=10).text.splitlines())


@contextmanager
def _without_destinations(house: House) -> Iterator[None]:
    """Let the twin post nothing itself meanwhile."""
    url = f"{house.twin}/_control/destinations"
    there = requests.get(url, timeout=10).json()["destinations"]
    for one in there:
        requests.delete(f"{url}/{one['id']}", timeout=10).raise_for_status()
    yield
    for one in there:
        house.control("destinations", {name: one[name] for name in ("kind", "url", "secrets", "types")})


class Stripe:
    """The CLI with the twin in Stripe's place; `log` is what `stripe listen` printed for a kind of event."""

    def __init__(self, folder: Path, proxy: str) -> None:
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "HTTPS_PROXY": proxy,
            "SSL_CERT_FILE": str(folder / "ca.pem"),
            "STRIPE_API_KEY": KEY,
            "STRIPE_CLI_TELEMETRY_OPTOUT": "1",
        }

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [stripe_cli(), *arguments],
            env=self.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def listening(self, kind: str, url: str) -> Iterator[None]:
        command = [stripe_cli(), "listen", "--skip-update", f"--all-{kind}", "--forward-to", f"{url}/{kind}"]
        with (self.folder / f"{kind}.log").open("w") as log:
            process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(10)

    def log(self, kind: str) -> str:
        return (self.folder / f"{kind}.log").read_text()

    def answers(self, kind: str) -> list[tuple[str, str]]:
        """(event id, our status) of each that was forwarded."""
        found = re.findall(r"<--\s+\[(\d+)\] POST \S+ \[(\w+)\]", self.log(kind))
        return [(event, status) for status, event in found]


@contextmanager
def _stripe(house: House, folder: Path) -> Iterator[Stripe]:
    (port,) = free_ports(1)
    stripe = Stripe(folder, f"http://127.0.0.1:{port}")
    places = ("--ca", str(folder / "ca.pem"), "--usage-log", str(house.sources))
    house.start("stripe-hosts", "fixtures.stripe_hosts", "--twin", house.twin, "--port", str(port), *places)
    try:
        house.until((folder / "ca.pem").exists, "the proxy")
        with ExitStack() as listening:
            for kind in ("snapshot", "thin"):
                listening.enter_context(stripe.listening(kind, f"{house.web}/webhooks"))
            house.until(lambda: all("Ready!" in stripe.log(kind) for kind in ("snapshot", "thin")), "stripe listen")
            yield stripe
    finally:
        house.kill("stripe-hosts")
