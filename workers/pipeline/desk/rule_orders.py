"""What a person says by rule: tried on everything that waits before it holds, and in force at once when it does."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from workers.kernel.clock import to_text
from workers.kernel.counting import counted
from workers.kernel.errors import Conflict, InputUnusable
from workers.kernel.ledger.acts import Act
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import WAITING, Bucket, EntryKind, Movement
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.rules import MadeRule, rule_id_of
from workers.kernel.reasons import UNCERTAIN, UNDONE
from workers.pipeline.context import Context
from workers.pipeline.desk.order import MOST_EXAMPLES, Effect, Example
from workers.pipeline.desk.taking_back import require_all_unsent, take_back_of
from workers.pipeline.desk.traces import entries_of, told
from workers.pipeline.desk.trial import helped
from workers.pipeline.desk.waiting import quantities_of, waiting
from workers.pipeline.livemode import is_foreign
from workers.pipeline.record_sets import ORIGIN, RECORD, as_before_plan, keep, movement, reasons_of
from workers.records.catalog import folded
from workers.records.quantities import bare_text
from workers.records.schema import CHANGES, EVENT_NAME, QUANTITY, REASON, VALID_FROM, payload_columns
from workers.remedies import Rules, with_made
from workers.remedies.made_rules import EVERY_METER, RuleKind, require_sound, said_by_file
from workers.remedies.rules import ALIAS, TARGET

_WORDS: Final = {
    RuleKind.CUSTOMER: "the customer {} is {}",
    RuleKind.METER: "the event name {} means the meter {}",
    RuleKind.VALUE_KEY: "the quantity of {} stands under {}",
    RuleKind.DECIMAL_MARK: "the quantities of {} are written with {}",
}


def in_words(kind: str, key: str, value: str) -> str:
    """Say what a rule says."""
    return _WORDS[RuleKind(kind)].format(key, value)


@dataclass(frozen=True)
class MakeRule:
    """Let a rule hold from now on, and have planned anew what it helps."""

    rule: str
    key: str
    value: str

    def effect(self, context: Context) -> Effect:
        """Return which waiting records it would help, of all cases, and which that it is about it would not."""
        require_sound(self.rule, self.key, self.value)
        made = context.ledger.rules.in_force()
        versions, examples, stay = dict[str, int](), list[Example](), Counter[str]()
        amounts = [pl.DataFrame(schema={EVENT_NAME: pl.String, QUANTITY: pl.String})]
        for case in context.ledger.queries.waiting_cases():
            if is_foreign(context, livemode=case.failure.livemode):
                continue
            for _, rows, others in self._tried(context, case, context.ledger.queries.entries(case.id)):
                stay.update(reasons_of(others))
                if not rows.is_empty():
                    versions[case.id] = case.version
                    amounts.append(rows.select(EVENT_NAME, QUANTITY))
                    examples += _examples(case.id, rows.head(MOST_EXAMPLES - len(examples)))
        all_rows = pl.concat(amounts)
        summary = (
            f"{in_words(self.rule, self.key, self.value)}: "
            f"that repairs {counted(all_rows.height, 'waiting record')} of {counted(len(versions), 'case')}"
        )
        warnings = [*self._contradicted(context, made), *_not_helped(stay)]
        basis = with_made(context.rules, made).digest
        return Effect(summary, all_rows.height, quantities_of(all_rows), versions, examples, warnings, basis)

    def carry_out(self, context: Context, act: Act) -> Mapping[str, Any]:
        """Keep the rule, then take up what it helps; a case that a worker holds keeps no other waiting.

        Raises InputUnusable where somebody has said something else since it was shown.
        """
        self._require_nothing_else_said(context, act)
        rule = context.ledger.rules.make(act, self.rule, self.key, self.value)
        busy, records = list[str](), 0
        for case_id in _cases_of(act):
            try:
                with context.ledger.cases.hold(case_id, context.owner, context.lease) as held:
                    records += self._reopen(context, held, act)
            except Conflict:
                busy.append(case_id)
        if busy:
            raise Conflict(f"a worker holds {', '.join(busy)}")
        return {"rule": rule.id, "records": records}

    def require_open(self, context: Context, act: Act) -> None:
        """Raise InputUnusable where a record that it has helped was sent since."""
        require_all_unsent(context, _cases_of(act), act)

    def take_back(self, context: Context, act: Act, by: str) -> Mapping[str, Any]:
        """Revert the rule, and let what it has helped wait as before. Raises InputUnusable where some was sent."""
        outcome = take_back_of(context, _cases_of(act), act, by)
        context.ledger.rules.revert(rule_id_of(act), by)
        return outcome

    def _reopen(self, context: Context, held: HeldCase, act: Act) -> int:
        done = entries_of(held.journal, act)
        if done:
            return sum(entry.records for entry in done)
        moves = list(self._moves(context, held, act))
        with held.transaction(last=True) as transaction:
            transaction.move(*moves)
            transaction.reschedule(context.clock())
        return sum(move.records for move in moves)

    def _moves(self, context: Context, held: HeldCase, act: Act) -> Iterator[Movement]:
        for bucket, rows, _ in self._tried(context, held.case, held.journal):
            if rows.is_empty():
                continue
            chosen = waiting(context, held.journal, bucket).join(rows.lazy().select(RECORD), on=RECORD, how="semi")
            reasons = reasons_of(chosen.with_columns(pl.col(REASON).fill_null("")))
            ref = keep(context, held.case.id, "reopened", as_before_plan(context, held.journal, chosen))
            route, detail = (bucket, Bucket.PENDING), {**told(act), "reasons": reasons}
            yield movement(context, EntryKind.REOPENED, route, ref, detail=detail, actor=act.actor)

    def _tried(
        self, context: Context, case: Case, journal: Sequence[EntryRow]
    ) -> Iterator[tuple[Bucket, pl.DataFrame, pl.DataFrame]]:
        """Yield, of each bucket of waiting records that the rule is about, those that it helps and the others.

        What may be billed already, or was taken back, is somebody's to decide, and no rule's.
        """
        now, then = self._rules(context)
        for bucket in WAITING:
            there = waiting(context, journal, bucket)
            open_ = ~pl.col(REASON).fill_null("").is_in([*UNCERTAIN, UNDONE])
            about = there.filter(open_, self._is_about(then, there.collect_schema().names()))
            if about.select(pl.len()).collect().item():
                rows, others = helped(context, case, as_before_plan(context, journal, about), now, then)
                yield bucket, rows, others

    def _rules(self, context: Context) -> tuple[Rules, Rules]:
        """Return the rules without this one and with it, whether it holds already or not."""
        made = [one for one in context.ledger.rules.in_force() if not self._is(one)]
        last = max((one.made_at for one in made), default=context.clock())
        mine = MadeRule("", self.rule, self.key, self.value, "", "", "", max(last, context.clock()))
        return with_made(context.rules, made), with_made(context.rules, [*made, mine])

    def _is(self, one: MadeRule) -> bool:
        return (one.kind, one.key, one.value) == (self.rule, self.key, self.value)

    def _is_about(self, rules: Rules, columns: list[str]) -> pl.Expr:
        """Tell which records name what the rule is about, by itself or by an alias of it."""
        if self.rule == RuleKind.CUSTOMER:
            names = list(_standing_for(self.key, dict(rules.customer_aliases.select(ALIAS, TARGET).iter_rows())))
            texts = (bare_text(pl.col(column)).is_in(names) for column in payload_columns(columns))
            return pl.any_horizontal(pl.lit(value=False), *texts)
        names = list(_standing_for(self.key, rules.renamed))
        if self.key == EVERY_METER:
            return pl.lit(value=True)
        spelled = pl.select(folded(pl.lit(pl.Series(names, dtype=pl.String)))).to_series()
        return folded(bare_text(pl.col(EVENT_NAME))).is_in(spelled.implode())

    def _require_nothing_else_said(self, context: Context, act: Act) -> None:
        made = context.ledger.rules.in_force()
        if any(one.act_id == act.id for one in made):
            return
        unseen = set(self._contradicted(context, made)) - set((act.effect or {})["warnings"])
        if unseen:
            said, _, _ = min(unseen).partition(";")
            raise InputUnusable(f"nothing was done: since it was shown, {said}", where=act.id, mend="look again")

    def _contradicted(self, context: Context, made: Sequence[MadeRule]) -> Iterator[str]:
        says = said_by_file(context.rules, self.rule, self.key)
        if says is not None and says != self.value:
            yield f"rules.toml says {says}; this later word holds"
        for one in made:
            if (one.kind, one.key) == (self.rule, self.key):
                said = f"{one.actor} has said {one.value} on {to_text(one.made_at)}"
                yield f"{said} ({one.id}); this later word holds"


@dataclass(frozen=True)
class RevertRule:
    """Let a rule that somebody has made hold no longer. What it has helped already stays as it is."""

    rule_id: str

    def effect(self, context: Context) -> Effect:
        """Return what holds then. Raises InputUnusable where the rule has ended."""
        rule = context.ledger.rules.get(self.rule_id)
        if rule.reverted_at is not None:
            raise InputUnusable(f"{rule.reverted_by} has reverted it already", where=rule.id)
        before = [one for one in context.ledger.rules.history() if _same_key(one, rule) and one.reverted_at is None]
        earlier = next((one.value for one in reversed(before) if one.id != rule.id), None)
        holds = earlier or said_by_file(context.rules, rule.kind, rule.key)
        then = f"{in_words(rule.kind, rule.key, holds)} again" if holds else "nothing is said of it any more"
        summary = f"no longer: {in_words(rule.kind, rule.key, rule.value)}; {then}"
        return Effect(summary, 0, warnings=["what it has repaired already is not touched"])

    def carry_out(self, context: Context, act: Act) -> Mapping[str, Any]:
        """End the rule."""
        context.ledger.rules.revert(self.rule_id, act.actor)
        return {"rule": self.rule_id, "records": 0}

    def require_open(self, context: Context, act: Act) -> None:
        """Let it be taken back at any time."""

    def take_back(self, context: Context, act: Act, by: str) -> Mapping[str, Any]:
        """Let the rule hold again."""
        del act, by
        context.ledger.rules.restore(self.rule_id)
        return {"rule": self.rule_id, "records": 0}


def _same_key(one: MadeRule, other: MadeRule) -> bool:
    return (one.kind, one.key) == (other.kind, other.key)


def _cases_of(act: Act) -> Sequence[str]:
    return list((act.effect or {}).get("cases", {}))


def _standing_for(key: str, aliases: Mapping[str, str]) -> set[str]:
    """Return the names that lead to `key`, and itself."""
    names = {key}
    while more := {alias for alias, target in aliases.items() if target in names} - names:
        names |= more
    return names


def _not_helped(reasons: Mapping[str, int]) -> Iterator[str]:
    if reasons:
        told_of = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items()))
        yield f"{sum(reasons.values()):,} more that it is about go on as they are: {told_of}"


def _examples(case_id: str, rows: pl.DataFrame) -> Iterator[Example]:
    for row in rows.iter_rows(named=True):
        changes = json.loads(row[CHANGES] or "[]")
        after = {one["column"]: one["after"] for one in changes} or {"": f"valid from {row[VALID_FROM]}"}
        before = {one["column"]: one["before"] for one in changes}
        yield Example(case_id, row[RECORD], row[ORIGIN], before, after)
