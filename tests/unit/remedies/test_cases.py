"""One file per case in fixtures/expected: what a remedy may do, and what it must leave to a person.

If one fails, a record is billed wrongly, or a person is asked about what leaves no doubt.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.unit.remedies.frames import NOW, records
from workers.records.catalog import Catalog, Meter
from workers.records.schema import CHANGES, CODE, OUTCOME, QUANTITY, REASON, SUGGESTION, VALID_FROM
from workers.remedies import REMEDIES, parse_rules, repair_frame

FOLDER = Path(__file__).parents[3] / "fixtures" / "expected"
CASES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}
ANSWERS = {"reason": REASON, "suggestion": SUGGESTION, "valid_from": VALID_FROM, "quantity": QUANTITY}


@pytest.mark.parametrize("name", CASES)
def test_the_record_becomes_what_the_case_says(name: str) -> None:
    case, after = CASES[name], _repaired(name)
    before = case["record"]
    expected = case["expect"]
    assert after[OUTCOME] == expected["outcome"], case["says"]
    assert {key: after[ANSWERS[key]] for key in ANSWERS if key in expected} == {
        key: expected[key] for key in ANSWERS if key in expected
    }
    changed = {name: after[name] for name in after if not name.startswith("@") and after[name] != before.get(name)}
    assert changed == expected.get("changed", {}), case["says"]


@pytest.mark.parametrize("name", CASES)
def test_every_change_is_on_record(name: str) -> None:
    """Without it nobody could tell a customer why his bill says what it says."""
    before, after = CASES[name]["record"], _repaired(name)
    replayed = dict(before)
    for change in json.loads(after[CHANGES] or "[]"):
        assert replayed.get(change["column"]) == change["before"]
        replayed[change["column"]] = change["after"]
    assert {name: after[name] for name in after if not name.startswith("@") and name in replayed} == replayed


def test_every_code_has_a_case_that_it_mends_and_one_that_it_leaves() -> None:
    outcomes: dict[str, set[str]] = {}
    for name, case in CASES.items():
        outcomes.setdefault(name.split("__")[0], set()).add(case["expect"]["outcome"])
    for code in REMEDIES:
        assert {"repaired", "quarantined"} <= outcomes[code], code


@cache
def _repaired(name: str) -> dict[str, Any]:
    case = CASES[name]
    customers = case.get("customers", ["cus_known", "cus_other"])
    catalog = Catalog(
        meters=tuple(map(Meter.from_stripe, case.get("meters", [{"event_name": "api_calls"}]))),
        customers=None if customers is None else pl.Series(customers),
        metadata_hits={text: tuple(hits) for text, hits in case.get("metadata_hits", {}).items()},
        live=case.get("live", False),
    )
    frame = records([{**case["record"], CODE: case.get("code")}])
    rules = parse_rules("\n".join(case.get("rules", [])))
    return repair_frame(frame, catalog=catalog, rules=rules, now=NOW).to_dicts()[0]
