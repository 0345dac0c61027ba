"""Rules decide about money: a mistake in them is one clear line, never a silent default."""

from pathlib import Path

import pytest

from workers.kernel.errors import InputUnusable
from workers.records.quantities import ORDINARY, Notation
from workers.remedies import load_rules, parse_rules


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x", "no TOML"),
        ("[customer]", "customer: no such rule; did you mean customers?"),
        ("[timestamp]\nshift_seconds = 1", "timestamp: no such rule; did you mean timestamps?"),
        ("[meter]", "meter: no such rule; did you mean archived_meters?"),
        ("[xyz]", "xyz: no such rule; there are customers, event_names, values, timestamps, archived_meters, dim"),
        ("[customers]\naliasez = {}", "customers.aliasez: no such rule; did you mean aliases?"),
        (
            '[[customers.missing]]\nconstnt = "a"',
            "customers.missing.0.constnt: no such rule; did you mean constant",
        ),
        ("[[values]]\nround_digits = 3", "values.0.round_digits: no such rule; did you mean round_to_digits?"),
        ("[sources.usage]\nidentifer = 'id'", "sources.usage.identifer: no such rule; did you mean identifier?"),
        ("[customers]\naliases = { a = 1 }", "customers.aliases.a"),
        ("[[customers.missing]]", "customers.missing.0: give either column or constant"),
        ('[[customers.missing]]\ncolumn = "a"\nconstant = "b"', "give either column or constant"),
        ('[timestamps]\nnaive_zone = "Mars/Olympus"', "'Mars/Olympus' is no IANA time zone"),
        ("[timestamps]\nhorizon_hours = -1", "timestamps.horizon_hours"),
        ("[timestamps]\nredate_too_old_to = 2026-01-01T00:00:00", "redate_too_old_to needs a time zone"),
        (
            "[timestamps]\nclamp_too_old = true\nredate_too_old_to = 2026-01-01T00:00:00Z",
            "give either clamp_too_old",
        ),
        ("[[values]]\nround_to_digits = 16", "values.0.round_to_digits"),
        ('[[values]]\nrounding = "somehow"', "values.0.rounding"),
        ("[[values]]\n[[values]]", "two [[values]] are for the meter '*'"),
        ('[[archived_meters]]\nmeter = "a"', "give either successor or wait = true"),
        ('[[archived_meters]]\nmeter = "a"\nsuccessor = "b"\nwait = true', "give either successor"),
        ('[[dimensions]]\nkeep = ["a"]\ndrop = ["b"]', "give either keep or drop"),
        (
            '[customers]\nalias_file = "nowhere.csv"',
            "nowhere.csv: it does not exist - correct",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(text: str, problem: str) -> None:
    with pytest.raises(InputUnusable) as caught:
        parse_rules(text, where="rules.toml")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    """Taken for no rules, it would change what is billed."""
    with pytest.raises(InputUnusable, match=r"nowhere\.toml: it does not exist"):
        load_rules(tmp_path / "nowhere.toml")


def test_aliases_come_inline_and_from_a_file_beside_the_rules(tmp_path: Path) -> None:
    (tmp_path / "aliases.csv").write_text("alias,target,note\n007,cus_b,keeps its zeros\nacme,cus_a,\n,cus_c,\n")
    (tmp_path / "rules.toml").write_text('[customers]\naliases = { acme = "cus_a" }\nalias_file = "aliases.csv"')
    aliases = load_rules(tmp_path / "rules.toml").customer_aliases
    assert dict(aliases.iter_rows()) == {"acme": "cus_a", "007": "cus_b"}


@pytest.mark.parametrize("content", ["alias;target\na;b\n", "from,to\na,b\n", "alias,target\na,b\na,c\n", ""])
def test_a_bad_alias_file_is_one_clear_error(tmp_path: Path, content: str) -> None:
    """Of two targets one would be billed for the other."""
    (tmp_path / "aliases.csv").write_text(content)
    (tmp_path / "rules.toml").write_text('[customers]\nalias_file = "aliases.csv"')
    with pytest.raises(InputUnusable) as caught:
        load_rules(tmp_path / "rules.toml")
    assert "\n" not in str(caught.value)


def test_a_rule_for_the_meter_wins_over_the_one_for_all() -> None:
    rules = parse_rules('[[values]]\ndecimal_comma = true\n[[values]]\nmeter = "api_calls"\nstrip_units = ["GB"]')
    assert rules.notation_of("api_calls") == Notation(units=("GB",))
    assert rules.notation_of("tokens") == Notation(decimal_comma=True)
    assert parse_rules("").notation_of("tokens") == ORDINARY


@pytest.mark.parametrize(
    "text",
    [
        '[[values]]\ndecimal_comma = true\nthousands = ","',
        '[[values]]\ndecimal_comma = false\nthousands = "."',
        '[[values]]\nthousands = "_"',
        '[timestamps]\nformats = ["yyyyMMdd"]',
        '[timestamps]\nformats = ["%d.%m.%Y"]',
    ],
)
def test_a_notation_that_nobody_can_have_is_one_clear_error(text: str) -> None:
    """One mark for two things would make every quantity a matter of luck."""
    with pytest.raises(InputUnusable) as caught:
        parse_rules(text)
    assert "\n" not in str(caught.value)


def test_the_named_meters_notation_wins() -> None:
    rules = parse_rules('[[values]]\ndecimal_comma = true\n[[values]]\nmeter = "tokens"\nthousands = ","')
    assert rules.decimal_marks == {"*": ",", "tokens": "."}
