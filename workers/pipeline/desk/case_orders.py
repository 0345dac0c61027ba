"""What a person does to a case's waiting records: lets them be, bills them otherwise, or has them planned anew."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, ClassVar

import polars as pl

from workers.kernel.counting import counted
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.acts import Act
from workers.kernel.ledger.by_code import BY_CODE
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import WAITING, Bucket, EntryKind, Movement
from workers.kernel.ledger.only_counted import unlocated
from workers.kernel.ledger.queries import EntryRow
from workers.pipeline.context import Context
from workers.pipeline.desk.order import Effect
from workers.pipeline.desk.traces import TOOK_BACK, entries_of, taken_back, told
from workers.pipeline.desk.waiting import Chosen, examples_of, quantities_of, require_case, waiting
from workers.pipeline.record_sets import keep, movement, reasons_of
from workers.records.schema import REASON


@dataclass(frozen=True)
class Settle:
    """Take waiting records out of the case's work: they are written off, or billed otherwise.

    `reference` says where they were billed, an invoice for example. Records that are only counted go along where
    all are meant, or their reason.
    """

    case_id: str
    chosen: Chosen = field(default_factory=Chosen)
    reference: str = ""

    kind: ClassVar[EntryKind]
    bucket: ClassVar[Bucket]
    words: ClassVar[str]

    def effect(self, context: Context) -> Effect:
        """Return which records it is about. Raises InputUnusable where there are none."""
        case = require_case(context, self.case_id)
        journal = context.ledger.queries.entries(case.id)
        rows = self._rows(context, journal)
        rowless = self._only_counted(journal).total()
        if rows.is_empty() and not rowless:
            raise InputUnusable("no such record waits", where=self.case_id, mend=f"metermend case show {case.id}")
        unread = f"{rowless:,} of them are only counted: nobody knows their quantity" if rowless else None
        return Effect(
            f"{counted(rows.height + rowless, 'record')} of {case.id}: {self.words}",
            rows.height + rowless,
            quantities_of(rows),
            {case.id: case.version},
            examples_of(case.id, rows, self.words),
            [unread] if unread else [],
        )

    def carry_out(self, context: Context, act: Act) -> Mapping[str, Any]:
        """Move the records in one commit."""
        with context.ledger.cases.hold(self.case_id, context.owner, context.lease) as held:
            done = entries_of(held.journal, act)
            if done:
                return {"records": sum(entry.records for entry in done)}
            require_unchanged(held, act)
            moves = [replace(move, actor=act.actor) for move in self._moves(context, held, act)]
            with held.transaction(last=True) as transaction:
                transaction.move(*moves)
                transaction.reschedule(context.clock())
        return {"records": sum(move.records for move in moves)}

    def require_open(self, context: Context, act: Act) -> None:
        """Let it be taken back at any time: what waits for nobody goes nowhere."""

    def take_back(self, context: Context, act: Act, by: str) -> Mapping[str, Any]:
        """Let the records wait again, as they did."""
        with context.ledger.cases.hold(self.case_id, context.owner, context.lease) as held:
            before = taken_back(held.journal, act)
            if before:
                return {"records": sum(entry.records for entry in before)}
            moves = [_put_back(entry, act, by) for entry in entries_of(held.journal, act)]
            with held.transaction(last=True) as transaction:
                transaction.move(*moves)
                transaction.reschedule(context.clock())
        return {"records": sum(move.records for move in moves)}

    def _rows(self, context: Context, journal: Sequence[EntryRow]) -> pl.DataFrame:
        return pl.concat(
            [self.chosen.of(waiting(context, journal, bucket)).collect() for bucket in WAITING], how="diagonal"
        )

    def _only_counted(self, journal: Sequence[EntryRow]) -> Counter[str]:
        if self.chosen.is_all or self.chosen == Chosen(reason=self.chosen.reason):
            counted = unlocated(journal)
            named = self.chosen.reason
            return counted if named is None else Counter({named: counted[named]})
        return Counter()

    def _moves(self, context: Context, held: HeldCase, act: Act) -> Iterator[Movement]:
        said = {**told(act), **({"reference": self.reference} if self.reference else {})}
        for bucket in WAITING:
            rows = self.chosen.of(waiting(context, held.journal, bucket))
            reasons = reasons_of(rows.with_columns(pl.col(REASON).fill_null("")))
            if reasons:
                ref = keep(context, held.case.id, self.bucket, rows)
                route = (bucket, self.bucket)
                yield movement(context, self.kind, route, ref, detail={**said, "reasons": reasons})
        counted = +self._only_counted(held.journal)
        if counted:
            detail = {**said, "reasons": dict(counted)}
            route = (Bucket.QUARANTINED, self.bucket)
            yield Movement(self.kind, *route, counted.total(), Decimal(0), detail=detail)


@dataclass(frozen=True)
class WriteOff(Settle):
    """Let usage go unbilled, knowingly."""

    kind = EntryKind.WRITTEN_OFF
    bucket = Bucket.WRITTEN_OFF
    words = "written off, nobody is billed"


@dataclass(frozen=True)
class Corrected(Settle):
    """Say that usage was billed otherwise, and where."""

    kind = EntryKind.CORRECTED
    bucket = Bucket.CORRECTED
    words = "billed otherwise, not sent any more"


def require_unchanged(held: HeldCase, act: Act, own: int = 0) -> None:
    """Raise InputUnusable where a case is not as it was shown; `own` entries the act itself has made since."""
    shown = (act.effect or {}).get("cases", {}).get(held.case.id)
    if shown is None or held.case.version != shown + own:
        raise InputUnusable(
            "the case has changed since this was shown, so nothing was done", where=held.case.id, mend="look again"
        )


def _put_back(entry: EntryRow, act: Act, by: str) -> Movement:
    """Return the entry that moves the records of another one back to where a person finds them."""
    detail = {name: value for name, value in entry.detail.items() if name in ("reasons", BY_CODE)}
    route = Bucket(entry.to_bucket or ""), Bucket.QUARANTINED
    return Movement(
        EntryKind.REOPENED, *route, entry.records, Decimal(entry.quantity),
        record_set=entry.ref, actor=by, detail={**detail, TOOK_BACK: act.id},
    )  # fmt: skip
