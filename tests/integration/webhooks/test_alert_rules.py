"""If these fail, Prometheus waits for a number that nobody publishes, and whoever is on call sleeps on."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import FrozenClock
from tests.integration.webhooks.conftest import MakeClient, an_event, signed

RULES = Path(__file__).parents[3] / "docs" / "alerts.yml"
SELECTED = re.compile(r"(metermend_\w+)(?:\{(\w+)=(~?)\"([^\"]+)\"\})?")
"""A metric in a rule, with the label that it is chosen by."""


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return found


def test_every_number_that_a_rule_asks_for_is_published(
    make_client: MakeClient, clock: FrozenClock, rules: list[dict[str, Any]]
) -> None:
    client, body = make_client(), an_event()
    client.post("/webhooks", data=body, headers=signed(body, clock, secret="whsec_rolled"))
    shown = client.get("/metrics").text
    published = set(re.findall(r"^(metermend_\w+)", shown, re.MULTILINE))
    for rule in rules:
        selections = SELECTED.findall(rule["expr"])
        assert selections, rule["alert"]
        for metric, label, _, values in selections:
            assert metric in published, rule["alert"]
            for value in values.split("|") if values and value_is_steady(label) else []:
                assert f'{metric}{{{label}="{value}"}}' in shown, rule["alert"]


def value_is_steady(label: str) -> bool:
    """An answer is counted from its first post on; the parts are always there."""
    return label == "component"


def test_every_part_has_a_rule(make_client: MakeClient, rules: list[dict[str, Any]]) -> None:
    components = set((make_client().get("/readyz").json or {})["components"])
    asked = " ".join(rule["expr"] for rule in rules)
    by_age = {"backlog", "queue"}
    assert "metermend_oldest_unprocessed_seconds" in asked
    assert {part for part in components - by_age if not re.search(rf"\b{part}\b", asked)} == set()


def test_every_rule_says_what_is_wrong_and_what_to_do(rules: list[dict[str, Any]]) -> None:
    for rule in rules:
        assert {"summary", "mend"} <= rule["annotations"].keys(), rule["alert"]
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]
        assert rule["expr"].count("(") == rule["expr"].count(")"), rule["alert"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not on this machine")
def test_prometheus_takes_the_rules() -> None:
    assert subprocess.run(["promtool", "check", "rules", RULES], check=False, timeout=20).returncode == 0
