"""Rules that people make while the service runs: who, why, when, and until when.

A rule is made by an act and ends by one. What its kind means is `workers.remedies.made_rules`'s business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from sqlalchemy import insert, select, update

from workers.kernel.clock import Clock
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.acts import Act
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import rules

_PREFIX: Final = "rule_"
FILE_SAYS: Final = "rules:file_says"
"""Checkpoint: rule id -> what rules.toml says of the same thing, where that is something else."""


@dataclass(frozen=True)
class MadeRule:
    """One rule: for `key` (a customer, a meter) `value` holds, from `made_at` to `reverted_at` if it has ended."""

    id: str
    kind: str
    key: str
    value: str
    act_id: str
    actor: str
    why: str
    made_at: datetime
    reverted_at: datetime | None = None
    reverted_by: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        return cls(**row)


def rule_id_of(act: Act) -> str:
    """Return the id of the rule that an act makes: however often it is carried out, it is one rule."""
    return _PREFIX + act.id.removeprefix("act_")


class MadeRules:
    """The rules table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def make(self, act: Act, kind: str, key: str, value: str) -> MadeRule:
        """Let a rule hold from now on; one that the act has made already stays as it is."""
        row = {
            "id": rule_id_of(act), "kind": kind, "key": key, "value": value,
            "act_id": act.id, "actor": act.actor, "why": act.why, "made_at": self._clock(),
        }  # fmt: skip
        with self._database.write() as connection:
            if connection.execute(select(rules.c.id).where(rules.c.id == row["id"])).first() is None:
                connection.execute(insert(rules).values(row))
        return self.get(rule_id_of(act))

    def get(self, rule_id: str) -> MadeRule:
        """Return a rule. Raises InputUnusable where there is none of that id."""
        found = next(iter(self._database.rows(select(rules).where(rules.c.id == rule_id))), None)
        if found is None:
            raise InputUnusable("there is no such rule", where=rule_id, mend="`metermend rules list` names them")
        return MadeRule.from_row(dict(found))

    def in_force(self) -> Sequence[MadeRule]:
        """Return the rules that hold, the oldest first: of those for one key the latest that was not reverted."""
        latest = {(rule.kind, rule.key): rule for rule in self._all(rules.c.reverted_at.is_(None))}
        return sorted(latest.values(), key=lambda rule: (rule.made_at, rule.id))

    def history(self) -> Sequence[MadeRule]:
        """Return every rule that was ever made, the oldest first."""
        return self._all()

    def revert(self, rule_id: str, by: str) -> None:
        """Let a rule hold no longer; one that has ended already stays as it is."""
        self._change(rule_id, rules.c.reverted_at.is_(None), reverted_at=self._clock(), reverted_by=by)

    def restore(self, rule_id: str) -> None:
        """Let a reverted rule hold again."""
        self._change(rule_id, rules.c.reverted_at.is_not(None), reverted_at=None, reverted_by=None)

    def _all(self, *chosen: Any) -> Sequence[MadeRule]:
        query = select(rules).where(*chosen).order_by(rules.c.made_at, rules.c.id)
        return [MadeRule.from_row(dict(row)) for row in self._database.rows(query)]

    def _change(self, rule_id: str, if_it: Any, **values: Any) -> None:
        with self._database.write() as connection:
            connection.execute(update(rules).where(rules.c.id == rule_id, if_it).values(**values))
