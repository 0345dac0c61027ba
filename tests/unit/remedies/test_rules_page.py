"""docs/rules.md is executed: a page that no longer tells the truth about money is worse than none."""

import json
import re
from pathlib import Path

import polars as pl
import pytest

from tests.unit.remedies.frames import NOW, good, records
from workers.records.catalog import Catalog, Meter
from workers.records.schema import CHANGES, OUTCOME, SUGGESTION
from workers.remedies import parse_rules, repair_frame, rules

PAGE = (Path(__file__).parents[3] / "docs" / "rules.md").read_text(encoding="utf-8")
RULES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0]
EXAMPLES = re.findall(r"^\| `([^|]*)` \| `([^|]*)` \| ([a-z_]+\.[a-z_]+) \|$", PAGE, re.MULTILINE)
CATALOG = Catalog(
    meters=(
        Meter("api_calls"),
        Meter("storage_gb"),
        Meter("old_calls", active=False),
        Meter("by_region", dimensions=("payload_region",)),
    ),
    customers=pl.Series(["cus_A1", "cus_known"]),
)


def cells(text: str) -> dict[str, str | None]:
    """Return `a=1 b=` as `{"a": "1", "b": None}`; a value may hold blanks."""
    return {name: value.strip() or None for name, value in re.findall(r"(\w+)=((?:(?!\s\w+=).)*)", text)}


@pytest.mark.parametrize(("before", "after", "remedy"), EXAMPLES)
def test_each_line_of_the_worked_example_is_what_happens(before: str, after: str, remedy: str) -> None:
    frame = records([good(**cells(before))], source="eu-1.csv")
    (repaired,) = repair_frame(frame, catalog=CATALOG, rules=parse_rules(RULES), now=NOW).to_dicts()
    assert repaired[OUTCOME] == "repaired", repaired[SUGGESTION]
    assert {name: repaired[name] for name in cells(after)} == cells(after)
    assert remedy in {change["remedy"] for change in json.loads(repaired[CHANGES])}


def test_the_example_uses_every_kind_of_rule() -> None:
    assert len(EXAMPLES) == 11


@pytest.mark.parametrize(
    "section",
    [
        rules.CustomerRules, rules.MissingCustomer, rules.EventNameRules, rules.ValueRule,
        rules.TimestampRules, rules.ArchivedMeterRule, rules.DimensionRule, rules.TableRule,
    ],
)  # fmt: skip
def test_every_key_is_in_the_reference(section: type[rules.CustomerRules]) -> None:
    for key in set(section.model_fields) - {"missing"}:
        assert f"| `{key}` |" in PAGE, f"{section.__name__}.{key}"
