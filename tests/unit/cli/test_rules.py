"""`metermend rules`: what a rule does is seen before it decides about money."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.usage import company, run, told


def test_check_says_what_is_in_the_rules(tmp_path: Path) -> None:
    company(tmp_path)
    result = run("rules", "check", tmp_path / "rules.toml")
    assert result.exit_code == 0
    assert "sound. 1 value rule\n" in result.stdout


INVENTORIES = {
    "sound. 1 time zone, 3 time formats": '[timestamps]\nnaive_zone = "Europe/Berlin"\n'
    'formats = ["dd.MM.yyyy HH:mm", "MM/dd/yyyy", "dd/MM/yyyy"]',
    "sound. 1 value rule, 1 time zone": '[timestamps]\nnaive_zone = "UTC"\n[[values]]\nthousands = "."',
    "sound. 1 time shift, 1 time horizon, 1 too-old rule": "[timestamps]\nshift_seconds = 3\n"
    "horizon_hours = 1\nclamp_too_old = true",
    "sound. 1 customer metadata key": '[customers]\nmetadata_key = "crm"',
    "sound. It has no rules.": "",
}


@pytest.mark.parametrize(("said", "text"), INVENTORIES.items())
def test_check_leaves_no_rule_out_that_changes_what_is_billed(tmp_path: Path, said: str, text: str) -> None:
    (tmp_path / "rules.toml").write_text(text)
    assert run("rules", "check", tmp_path / "rules.toml").stdout.endswith(f"{said}\n")


def test_check_names_the_mistake_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text("[customers]\naliasez = {}\n")
    result = run("rules", "check", tmp_path / "rules.toml")
    assert result.exit_code == 2
    assert "customers.aliasez: no such rule" in result.stderr
    assert result.stderr.strip().count("\n") == 0


def test_explain_shows_before_and_after_with_records_and_quantity(tmp_path: Path) -> None:
    usage = company(tmp_path)
    result = run("rules", "explain", usage, "--rules", tmp_path / "rules.toml", *told(usage), width=120)
    assert result.exit_code == 0
    (line,) = [line.split() for line in result.stdout.splitlines() if "notation_rule" in line]
    assert line == ["meter_event_invalid_value.notation_rule", "'1,234'", "'1.234'", "1", "1.234"]


def test_a_narrow_terminal_hides_neither_the_rule_nor_what_it_changes(tmp_path: Path) -> None:
    """`meter_event_cust…` may be any of four rules."""
    usage = company(tmp_path)
    result = run("rules", "explain", usage, "--rules", tmp_path / "rules.toml", *told(usage), width=60)
    assert "…" not in result.stdout
    rule = "".join(line.split()[0] for line in result.stdout.splitlines()[1:4])
    assert rule.startswith("meter_event_invalid_value.notation_rule")


@pytest.mark.parametrize("width", [60, 80])
def test_a_rule_is_not_broken_inside_a_word(tmp_path: Path, width: int) -> None:
    """Who looks for it in rules.toml does not find `notation_ru`."""
    usage = company(tmp_path)
    stdout = run("rules", "explain", usage, "--rules", tmp_path / "rules.toml", *told(usage), width=width).stdout
    whole = {"meter_event_invalid_value.notation_rule", "meter_event_invalid_value.", "notation_rule"}
    assert {line.split()[0] for line in stdout.splitlines()[1:4]} & whole
    assert not {word for word in stdout.split() if "_rule" in word} - whole


def test_explain_compares_the_outcomes_without_and_with_the_rules(tmp_path: Path) -> None:
    usage = company(tmp_path)
    result = run("rules", "explain", usage, "--json", "--rules", tmp_path / "rules.toml", *told(usage))
    document = json.loads(result.stdout)
    assert (document["without"]["quarantined"], document["with"]["quarantined"]) == (1, 1)
    assert (document["without"]["repaired"], document["with"]["repaired"]) == (1, 1)
    assert [change["after"] for change in document["changes"]] == ["1.234"]


def test_explain_without_rules_is_a_mistake(tmp_path: Path) -> None:
    usage = company(tmp_path)
    result = run("rules", "explain", usage, *told(usage))
    assert result.exit_code == 2
    assert "--rules" in result.stderr
