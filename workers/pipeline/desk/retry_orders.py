"""What a person has tried again: quarantined records planned anew, held ones let go, events read anew."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import polars as pl

from workers.kernel.counting import counted
from workers.kernel.errors import Conflict, InputUnusable
from workers.kernel.ledger.acts import Act
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.kernel.reasons import UNCERTAIN
from workers.pipeline.context import Context
from workers.pipeline.desk.case_orders import require_unchanged
from workers.pipeline.desk.order import MOST_EXAMPLES, Effect, Example
from workers.pipeline.desk.taking_back import require_all_unsent, take_back_of
from workers.pipeline.desk.traces import entries_of, told
from workers.pipeline.desk.waiting import Chosen, examples_of, quantities_of, require_case, waiting
from workers.pipeline.record_sets import reasons_of
from workers.pipeline.upkeep.retry import Asked, Retried, retry_case, retry_event
from workers.records.schema import EVENT_NAME, QUANTITY, REASON


@dataclass(frozen=True)
class Retry:
    """Plan quarantined records of cases anew, with all guards, and work on events again.

    Records that may be billed already stay where they are, unless `uncertain` says that somebody answers for them.
    """

    cases: Sequence[str] = ()
    events: Sequence[str] = ()
    chosen: Chosen = field(default_factory=Chosen)
    uncertain: bool = False

    words: ClassVar[str] = "retried"

    def effect(self, context: Context) -> Effect:
        """Return what would be taken up; a case without such records is only looked at again."""
        versions, examples, kept = dict[str, int](), list[Example](), Counter[str]()
        amounts = [pl.DataFrame(schema={EVENT_NAME: pl.String, QUANTITY: pl.String})]
        for case_id in self.cases:
            case = require_case(context, case_id)
            there = waiting(context, context.ledger.queries.entries(case_id), Bucket.QUARANTINED)
            chosen = self.chosen.of(there)
            rows = self._meant(chosen).collect()
            kept.update(self._left_alone(chosen))
            versions[case_id] = case.version
            amounts.append(rows.select(EVENT_NAME, QUANTITY))
            examples += examples_of(case_id, rows.head(MOST_EXAMPLES - len(examples)), self.words)
        for event_id in self.events:
            if context.ledger.events.get(event_id) is None:
                raise InputUnusable(
                    "there is no such event or case", where=event_id, mend="`metermend cases` lists them"
                )
        all_rows = pl.concat(amounts)
        left = [f"{count:,} more stay: {reason}" for reason, count in sorted(kept.items())]
        what = f"{counted(all_rows.height, 'record')} of {_named(self.cases, 'case')}: {self.words}"
        read = f"{_named(self.events, 'event')} is retried"
        summary = read if self.events and not self.cases else what
        return Effect(summary, all_rows.height, quantities_of(all_rows), versions, examples, left)

    def carry_out(self, context: Context, act: Act) -> Mapping[str, Any]:
        """Take up one case after the other; one that a worker holds keeps no other from being taken up.

        A case that has changed since it was shown is left as it is: what waits there now nobody has looked at.
        """
        busy, left = list[str](), list[InputUnusable]()
        done: dict[str, Any] = {}
        hinted = [retry_event(context, event_id) for event_id in self.events]
        for case_id in self.cases:
            try:
                retried = self._retry(context, case_id, act)
            except Conflict:
                busy.append(case_id)
                continue
            except InputUnusable as changed:
                left.append(changed)
                continue
            hinted.append(retried.hinted)
            done[case_id] = {
                "kept_back": dict(retried.kept_back),
                "events": list(retried.events),
                **_counts(context, case_id, act),
            }
        if busy:
            raise Conflict(f"a worker holds {', '.join(busy)}")
        if left and not done:
            raise left[0]
        records = sum(one["reopened"] + one["resent"] for one in done.values())
        return {"records": records, "cases": done, "hinted": all(hinted), "left": list(map(str, left))}

    def require_open(self, context: Context, act: Act) -> None:
        """Raise InputUnusable for events, and where a record was sent since."""
        if self.events:
            raise InputUnusable("what an event tells cannot be taken back", where=", ".join(self.events))
        require_all_unsent(context, self.cases, act)

    def take_back(self, context: Context, act: Act, by: str) -> Mapping[str, Any]:
        """Let what was not sent wait as it did. Raises InputUnusable for events, and where a record was sent."""
        self.require_open(context, act)
        return take_back_of(context, self.cases, act, by)

    def _meant(self, chosen: pl.LazyFrame) -> pl.LazyFrame:
        return chosen if self.uncertain else chosen.filter(~is_uncertain())

    def _left_alone(self, chosen: pl.LazyFrame) -> Mapping[str, int]:
        return {} if self.uncertain else reasons_of(chosen.filter(is_uncertain()))

    def _retry(self, context: Context, case_id: str, act: Act) -> Retried:
        chosen = None if self.chosen.is_all else self.chosen.of
        asked = Asked(act.actor, told(act), chosen, partial(require_unchanged, act=act))
        return retry_case(context, case_id, approved_by=act.actor if self.uncertain else None, asked=asked)


def is_uncertain() -> pl.Expr:
    """Tell which waiting records may be billed already."""
    return pl.col(REASON).fill_null("").is_in(UNCERTAIN)


def _counts(context: Context, case_id: str, act: Act) -> Mapping[str, int]:
    """Count what an act has moved in a case, by the journal: this try may have come to it as done."""
    moved = Counter[str]()
    for entry in entries_of(context.ledger.queries.entries(case_id), act):
        moved[entry.kind] += entry.records
    resent = moved[EntryKind.PLANNED]
    return {"reopened": moved[EntryKind.REOPENED] - resent, "resent": resent}


def _named(ids: Sequence[str], noun: str) -> str:
    return ids[0] if len(ids) == 1 else f"{len(ids):,} {noun}s"
