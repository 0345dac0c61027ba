"""Erasing one customer at his request (GDPR, Article 17): everywhere at once, and without breaking what is proved.

What is erased leaves a mark, and its case an entry that says that a customer was erased, when, by whom and why, but
not whom. Records, quantities and digests stay, so the equation holds and `prove` tells this change from any other.
"""

import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import polars as pl

from workers.kernel.counting import counted
from workers.kernel.erasing import Eraser
from workers.kernel.errors import Conflict, InputUnusable
from workers.kernel.files import sha256_of
from workers.kernel.given_file import event_of
from workers.kernel.ledger.acts import Act, ActState
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.erasure import EVENTS
from workers.kernel.ledger.events import OPEN
from workers.kernel.ledger.journal import EntryKind, Movement
from workers.kernel.ledger.ledger import REWRITE_DUE
from workers.kernel.ledger.queries import EntryRow
from workers.pipeline.context import Context, working_on
from workers.pipeline.desk.customer_traces import CaseTraces, given_traces, traces_in
from workers.pipeline.desk.erased_files import keep_without
from workers.pipeline.desk.order import Effect
from workers.pipeline.desk.traces import WHY, entries_of, told
from workers.pipeline.desk.waiting import quantities_of
from workers.pipeline.upkeep.retention import rewrite_if_due
from workers.records.schema import EVENT_NAME, MAX_AGE, QUANTITY
from workers.remedies.made_rules import RuleKind
from workers.remedies.rules import ALIAS, TARGET

_ID: Final = re.compile("cus_[A-Za-z0-9_]+")
"""How Stripe spells customers' ids (Stripe API reference, "The Customer object"). Nothing else looks like one."""
FILES: Final = "files"
"""In the detail of an `erased` entry: the names of files that are gone, and of what was written in their place."""
APPROVED_BY: Final = "approved_by"
_OUT_OF_REACH: Final = "what lies in USAGE_SOURCES and SUBMIT_TO, at Stripe, in Slack, in backups and in logs stays"
_LOOKING: Final = timedelta(hours=1)
"""How long it may take to see what an act is about, before it is asked for."""


@dataclass(frozen=True)
class Forget:
    """Erase a customer, by his id at Stripe, and by what rules say that he is also called."""

    customer: str

    def effect(self, context: Context) -> Effect:
        """Return how much of him there is, and where. Raises InputUnusable where records of his are not settled."""
        if not _ID.fullmatch(self.customer):
            raise InputUnusable("is no customer's id", where=self.customer, mend="name it as Stripe does: cus_…")
        eraser = self._eraser(context)
        rows = context.ledger.erasures.rows_of_cases(eraser)
        found = list(_traces(context, eraser, rows, context.ledger.queries.case_ids()))
        others, given = context.ledger.erasures.other_rows(eraser), given_traces(context, eraser)
        if not found and not others and not given:
            raise InputUnusable(
                "nothing here names this customer", where=self.customer, mend="see how it is spelled"
            )
        _require_nothing_open(context, eraser, found)
        _require_none_to_come(context, given)
        records = sum(len(one.person.records) for one in found)
        of_whom = f"{counted(records, 'record')} of {counted(len(found), 'case')}"
        where = ", ".join(_places(found, given, rows, others))
        return Effect(
            f"one customer is erased for ever, from {of_whom}: {where}",
            records,
            quantities_of(pl.concat([_NO_ROWS, *(rows for one in found for rows in one.standing.values())])),
            {one.case.id: one.case.version for one in found},
            warnings=list(self._warnings(context, eraser, found, given)),
        )

    def carry_out(self, context: Context, act: Act) -> Mapping[str, Any]:
        """Erase him case by case, then from all else; a case that is done already is not done twice.

        The act ends with it, since it must not tell any longer whom it was about. Raises InputUnusable where a
        record of his is not settled by now.
        """
        eraser, case_ids = self._eraser(context), _cases_of(context, act)
        found = list(_traces(context, eraser, context.ledger.erasures.rows_of_cases(eraser), case_ids))
        given = given_traces(context, eraser)
        _require_nothing_open(context, eraser, found)
        _require_none_to_come(context, given)
        busy, done = list[str](), list[EntryRow]()
        for case_id in case_ids:
            try:
                done += _erase_case(context, case_id, eraser, act, tells=case_id in {one.case.id for one in found})
            except Conflict:
                busy.append(case_id)
        if busy:
            raise Conflict(f"a worker holds {', '.join(busy)}")
        for name in given:
            context.archive.delete(name)
        events = context.ledger.erasures.erase_others(eraser, act.id)
        # Copies of the sender's own files; whatever of them still names him is read anew.
        shutil.rmtree(context.scratch / "sources", ignore_errors=True)
        outcome = {"records": sum(entry.records for entry in done), "cases": len(done), EVENTS: events}
        context.ledger.checkpoints.save(REWRITE_DUE, value=True)
        context.ledger.acts.end(act, ActState.DONE, outcome)
        rewrite_if_due(context)
        return outcome

    def require_open(self, context: Context, act: Act) -> None:
        """Raise InputUnusable: what was erased is not there any more."""
        del context
        raise InputUnusable("what was erased cannot be brought back", where=act.id)

    def take_back(self, context: Context, act: Act, by: str) -> Mapping[str, Any]:
        """Raise InputUnusable."""
        del by
        self.require_open(context, act)
        return {}

    def _eraser(self, context: Context) -> Eraser:
        made = context.rules_in_force.customer_aliases
        aliases = made.filter(pl.col(TARGET) == self.customer)[ALIAS].to_list()
        ended = [
            rule.key
            for rule in context.ledger.rules.history()
            if (rule.kind, rule.value) == (RuleKind.CUSTOMER, self.customer) and rule.key not in made[ALIAS]
        ]
        return Eraser((self.customer, *sorted({*aliases, *ended})))

    def _warnings(
        self, context: Context, eraser: Eraser, found: Sequence[CaseTraces], given: Sequence[str]
    ) -> Iterator[str]:
        if len(eraser.names) > 1:
            called = counted(len(eraser.names) - 1, "other name")
            yield f"rules give the customer {called}: erased likewise, and these rules hold no longer"
        by_file = context.rules.customer_aliases
        if not by_file.filter((pl.col(TARGET) == self.customer) | (pl.col(ALIAS) == self.customer)).is_empty():
            yield "rules.toml, or the alias file beside it, names the customer: take it out yourself"
        failed = sorted({*context.ledger.erasures.failed_events(eraser), *map(event_of, given)})
        if failed:
            yield f"what failed events tell of the customer is in no case, and lost then: {', '.join(failed)}"
        spelled = sum(eraser.is_named_in(text) for one in found for text in one.person.identifiers)
        until = max((one.case.changed_at for one in found), default=context.clock()) + MAX_AGE
        if spelled and until > context.clock():
            yield (
                f"{counted(spelled, 'identifier')} with the id in it: changed, so that until {until:%Y-%m-%d} "
                "Stripe can tell of that usage again and nothing here knows that it was sent; wait, if you may"
            )
        yield _OUT_OF_REACH


_NO_ROWS: Final = pl.DataFrame(schema={EVENT_NAME: pl.String, QUANTITY: pl.String})


def _places(
    found: Sequence[CaseTraces], given: Sequence[str], rows: Counter[str], others: Mapping[str, int]
) -> Iterator[str]:
    """Say in how many files and rows the customer stands."""
    yield counted(len(given) + sum(len(one.files) + len(one.leftovers) for one in found), "file")
    yield counted(rows.total(), "row of cases", "rows of cases")
    for table, count in others.items():
        kind = table.replace("_", " ")
        yield counted(count, f"row of {kind}", f"rows of {kind}")


def _cases_of(context: Context, act: Act) -> list[str]:
    """Return the cases that can tell of the customer: those that were shown, and those that have changed since."""
    shown, since = (act.effect or {})["cases"], act.asked_at - _LOOKING
    cases = map(context.ledger.cases.get, context.ledger.queries.case_ids())
    return [case.id for case in cases if case and (case.id in shown or case.changed_at >= since)]


def _traces(context: Context, eraser: Eraser, rows: Counter[str], case_ids: Sequence[str]) -> Iterator[CaseTraces]:
    """Yield what tells of the customer in those cases of which a file or a row does."""
    for case in filter(None, map(context.ledger.cases.get, case_ids)):
        found = traces_in(context, case, context.ledger.queries.entries(case.id), eraser)
        if found.files or found.leftovers or rows[case.id]:
            yield found


def _require_nothing_open(context: Context, eraser: Eraser, found: Sequence[CaseTraces]) -> None:
    """Raise InputUnusable while something of the customer is to be decided; what it says names cases, not him."""
    unsettled = [(one.case.id, one.unsettled) for one in found if one.unsettled]
    if unsettled:
        where = ", ".join(
            f"{case_id} ({', '.join(f'{count:,} {bucket}' for bucket, count in buckets.items())})"
            for case_id, buckets in unsettled
        )
        raise InputUnusable(
            "records of this customer are not settled, so nothing was erased",
            where=where,
            mend=f"repair and send them, or write them off: metermend write-off {unsettled[0][0]} --reason …",
        )
    _require_worked_on(context.ledger.erasures.open_events(eraser))
    acts = context.ledger.erasures.open_acts(eraser)
    if acts:
        raise InputUnusable(
            "acts that name this customer wait for somebody, so nothing was erased",
            where=", ".join(acts),
            mend=f"decide them: metermend approve {acts[0]}, or withdraw it",
        )


def _require_none_to_come(context: Context, given: Sequence[str]) -> None:
    """Raise InputUnusable while files that people gave are to be taken in yet, and may tell of the customer."""
    events = filter(None, map(context.ledger.events.get, map(event_of, given)))
    _require_worked_on([event.id for event in events if event.state in OPEN])


def _require_worked_on(events: Sequence[str]) -> None:
    if events:
        raise InputUnusable(
            "events that name this customer are not worked on yet, so nothing was erased",
            where=", ".join(events),
            mend="ask again when they are: `metermend events` shows what keeps them",
        )


def _erase_case(context: Context, case_id: str, eraser: Eraser, act: Act, *, tells: bool) -> list[EntryRow]:
    """Erase the customer from a case and return the entries that say so. Raises Conflict while a worker holds it.

    The entry comes first and the files go after it; where that broke off, they go now.
    """
    journal = context.ledger.queries.entries(case_id)
    if tells and not entries_of(journal, act):
        with working_on(context, case_id) as held:
            _write(context, held, eraser, act)
        journal = context.ledger.queries.entries(case_id)
    done = entries_of(journal, act)
    for entry in done:
        for name in entry.detail.get(FILES, {}):
            context.archive.delete(name)
    return done


def _write(context: Context, held: HeldCase, eraser: Eraser, act: Act) -> None:
    """Keep the case's files anew without the customer, then have its rows name these, in one commit."""
    found = traces_in(context, held.case, held.journal, eraser)
    _require_nothing_open(context, eraser, [found])
    anew = {
        name: keep_without(context, held.case.id, name, path, found.person) for name, path in found.files.items()
    }
    digests = {sha256_of(path): anew[name].sha256 for name, path in found.files.items()}
    without = Eraser(eraser.names, {name: ref.name for name, ref in anew.items()} | digests)
    files = {name: ref.name for name, ref in anew.items()} | dict.fromkeys(found.leftovers)
    with held.transaction(last=True) as transaction:
        left = transaction.erase(without, found.person.records, act.id)
        detail = {**told(act), WHY: eraser.text(act.why), APPROVED_BY: act.approved_by, FILES: files, **left}
        said = Movement(
            EntryKind.ERASED, None, None, len(found.person.records), Decimal(0), actor=act.actor, detail=detail
        )
        transaction.move(said)
        transaction.reschedule(context.clock())
