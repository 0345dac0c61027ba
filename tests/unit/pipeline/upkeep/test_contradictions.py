"""Where rules.toml contradicts a person. If these fail, the console says that both agree, and nobody looks."""

from pathlib import Path
from typing import Any

import pytest

from tests.books import a_context
from tests.conftest import FrozenClock
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.rules import FILE_SAYS
from workers.pipeline.context import Context
from workers.pipeline.upkeep.contradictions import note_contradictions
from workers.remedies import parse_rules


def context_of(ledger: Ledger, folder: Path, clock: FrozenClock, file: str) -> Context:
    return a_context(ledger, folder, clock, rules=parse_rules(file))


def said(ledger: Ledger) -> Any:
    return ledger.checkpoints.get(FILE_SAYS)


def test_what_the_file_says_otherwise_is_kept_until_one_of_both_is_gone(
    sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock
) -> None:
    contradicting = context_of(sqlite_ledger, tmp_path, clock, '[customers.aliases]\n"acme" = "cus_2"\n')
    act = sqlite_ledger.acts.ask("make_rule", None, {}, "ada", "they merged")
    rule = sqlite_ledger.rules.make(act, "customer", "acme", "cus_1")
    note_contradictions(contradicting)
    assert said(sqlite_ledger) == {rule.id: "cus_2"}
    note_contradictions(context_of(sqlite_ledger, tmp_path, clock, '[customers.aliases]\n"acme" = "cus_1"\n'))
    assert said(sqlite_ledger) == {}
    note_contradictions(contradicting)
    sqlite_ledger.rules.revert(rule.id, "bob")
    note_contradictions(contradicting)
    assert said(sqlite_ledger) == {}


def test_while_nothing_changes_nothing_is_written(
    sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at every half minute, in every clock."""
    monkeypatch.setattr(sqlite_ledger.checkpoints, "save", lambda *_: pytest.fail("it was written"))
    note_contradictions(context_of(sqlite_ledger, tmp_path, clock, ""))
