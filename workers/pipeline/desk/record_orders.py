"""What a person changes in single records: cells that he has edited, then planned anew with all guards."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from workers.kernel.codes import Outcome
from workers.kernel.counting import counted
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.acts import Act
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import WAITING, Bucket, EntryKind, Movement, RecordSetRef
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.reasons import UNCERTAIN, UNDONE
from workers.pipeline.audit.case_csv import KEY_PREFIX
from workers.pipeline.context import Context
from workers.pipeline.desk.case_orders import require_unchanged
from workers.pipeline.desk.edited_csv import AFTER, BEFORE, COLUMN, Edits
from workers.pipeline.desk.order import MOST_EXAMPLES, Effect, Example
from workers.pipeline.desk.taking_back import require_all_unsent, take_back_of
from workers.pipeline.desk.traces import entries_of, told
from workers.pipeline.desk.trial import tried
from workers.pipeline.desk.waiting import quantities_of, require_case, waiting
from workers.pipeline.record_sets import (
    ORIGIN,
    RECORD,
    as_before_plan,
    as_refused,
    keep,
    movement,
    reasons_of,
    scan,
)
from workers.records.schema import IDENTIFIER, MENDED_BY_HAND, OUTCOME, REASON, UNREADABLE, with_columns_of

_NEW: Final = "@new"
_EDITED: Final = "@edited"
_MOST_LEFT: Final = 20


def keep_edits(context: Context, case_id: str, edits: Edits) -> Mapping[str, Any]:
    """Keep edits in the archive, and return the arguments of the act that makes them."""
    ref = keep(context, case_id, "edits", edits.cells)
    more = len(edits.left) - _MOST_LEFT
    left = [*edits.left[:_MOST_LEFT], *([f"and {more:,} more like these"] if more > 0 else [])]
    return {"case_id": case_id, "edits": [ref.name, ref.sha256], "left": left}


@dataclass(frozen=True)
class Fix:
    """Put what a person has written in place of what stands in waiting records.

    `edits` are name and sha256 of the edited cells in the archive, `left` says which cells that came back otherwise
    are no edits.
    """

    case_id: str
    edits: Sequence[str]
    left: Sequence[str] = ()

    def effect(self, context: Context) -> Effect:
        """Return before and after by field, and what the records would do then.

        Raises InputUnusable where a record waits no more, is another than was edited, or may be billed already.
        """
        case = require_case(context, self.case_id)
        journal = context.ledger.queries.entries(case.id)
        edits = self._edits(context)
        self._require_editable(context, journal, edits)
        edited = [rows for _, _, rows in self._edited(context, journal, edits)]
        after = tried(context, case, pl.concat(edited, how="diagonal"), context.rules_in_force)
        waits = after.filter(pl.col(OUTCOME) == Outcome.QUARANTINED)
        still = [f"{n:,} of them go on waiting: {reason}" for reason, n in sorted(reasons_of(waits).items())]
        return Effect(
            f"{counted(after.height, 'record')} of {case.id}: {counted(edits.height, 'cell')} changed by hand",
            after.height,
            quantities_of(after),
            {case.id: case.version},
            list(_examples(case.id, edits, after)),
            [*still, *self.left],
        )

    def carry_out(self, context: Context, act: Act) -> Mapping[str, Any]:
        """Take the records, as edited, back to pending in one commit."""
        with context.ledger.cases.hold(self.case_id, context.owner, context.lease) as held:
            done = entries_of(held.journal, act)
            if done:
                return {"records": sum(entry.records for entry in done)}
            require_unchanged(held, act)
            moves = list(self._moves(context, held, act))
            with held.transaction(last=True) as transaction:
                transaction.move(*moves)
                transaction.show([RecordSetRef(*self.edits)])
                transaction.reschedule(context.clock())
        return {"records": sum(move.records for move in moves)}

    def require_open(self, context: Context, act: Act) -> None:
        """Raise InputUnusable where a record was sent since."""
        require_all_unsent(context, [self.case_id], act)

    def take_back(self, context: Context, act: Act, by: str) -> Mapping[str, Any]:
        """Let the records wait as they were before they were edited. Raises InputUnusable where one was sent."""
        return take_back_of(context, [self.case_id], act, by)

    def _edits(self, context: Context) -> pl.DataFrame:
        return scan(context, RecordSetRef(*self.edits)).collect()

    def _moves(self, context: Context, held: HeldCase, act: Act) -> Iterator[Movement]:
        for bucket, reasons, rows in self._edited(context, held.journal, self._edits(context)):
            ref = keep(context, held.case.id, "reopened", rows)
            detail = {**told(act), "reasons": reasons}
            route = (bucket, Bucket.PENDING)
            yield movement(context, EntryKind.REOPENED, route, ref, detail=detail, actor=act.actor)

    def _edited(
        self, context: Context, journal: Sequence[EntryRow], edits: pl.DataFrame
    ) -> Iterator[tuple[Bucket, Mapping[str, int], pl.LazyFrame]]:
        """Yield the edited records of each bucket as they are to be planned, with the reasons they waited for."""
        for bucket in WAITING:
            there = waiting(context, journal, bucket).join(edits.lazy().select(RECORD), on=RECORD, how="semi")
            reasons = reasons_of(there.with_columns(pl.col(REASON).fill_null("")))
            if reasons:
                undone, others = (
                    (pl.col(REASON) == UNDONE).fill_null(value=False),
                    pl.col(REASON).ne_missing(UNDONE),
                )
                parts = [
                    remake(context, journal, there.filter(chosen))
                    for chosen, remake in ((undone, as_refused), (others, as_before_plan))
                    if there.filter(chosen).select(pl.len()).collect().item()
                ]
                yield bucket, reasons, edited(pl.concat(parts, how="diagonal"), edits)

    def _require_editable(self, context: Context, journal: Sequence[EntryRow], edits: pl.DataFrame) -> None:
        there = pl.concat([waiting(context, journal, bucket) for bucket in WAITING], how="diagonal").collect()
        gone = edits.join(there, on=RECORD, how="anti")
        if not gone.is_empty():
            raise self._stale(gone.item(0, RECORD), "it does not wait any more")
        meant = there.join(edits.select(RECORD), on=RECORD, how="semi")
        uncertain = meant.filter(pl.col(REASON).is_in(UNCERTAIN))
        if not uncertain.is_empty():
            raise InputUnusable(
                f"it may be billed already ({uncertain.item(0, REASON)})",
                where=f"{self.case_id} {KEY_PREFIX}{uncertain.item(0, RECORD)}",
                mend="look in Stripe; nothing was done",
            )
        for (column,), part in edits.partition_by(COLUMN, as_dict=True).items():
            stands = with_columns_of(meant, [str(column)]).select(RECORD, pl.col(str(column)).alias(_NEW))
            other = part.join(stands, on=RECORD).filter(pl.col(_NEW).fill_null("") != pl.col(BEFORE).fill_null(""))
            if not other.is_empty():
                raise self._stale(other.item(0, RECORD), f"its {column} is another one by now")

    def _stale(self, record: int, what: str) -> InputUnusable:
        mend = f"export it anew: metermend quarantine {self.case_id}"
        return InputUnusable(what, where=f"{self.case_id} {KEY_PREFIX}{record}", mend=mend)


def edited(records: pl.LazyFrame, edits: pl.DataFrame) -> pl.LazyFrame:
    """Return records with the edits in them; whoever has written into an unreadable row has read it."""
    for (name,), part in edits.partition_by(COLUMN, as_dict=True, maintain_order=True).items():
        column = str(name)
        new = part.lazy().select(RECORD, pl.col(AFTER).alias(_NEW), pl.lit(value=True).alias(_EDITED))
        text = pl.when(_EDITED).then(_NEW).otherwise(column)
        written = [column, ORIGIN] if column == IDENTIFIER else [column]
        records = (
            with_columns_of(records, [column])
            .join(new, on=RECORD, how="left", maintain_order="left")
            .with_columns(text.alias(to) for to in written)
            .drop(_NEW, _EDITED)
        )
    return records.with_columns(pl.lit("yes").alias(MENDED_BY_HAND), pl.lit(None, pl.String).alias(UNREADABLE))


def _examples(case_id: str, edits: pl.DataFrame, after: pl.DataFrame) -> Iterator[Example]:
    for row in after.head(MOST_EXAMPLES).iter_rows(named=True):
        cells = edits.filter(pl.col(RECORD) == row[RECORD]).iter_rows(named=True)
        changes = [(cell[COLUMN], cell[BEFORE], cell[AFTER]) for cell in cells]
        before, new = ({name: text[at] for name, *text in changes} for at in (0, 1))
        note = "" if row[OUTCOME] == Outcome.REPAIRED else str(row[REASON])
        yield Example(case_id, row[RECORD], row[ORIGIN], before, new, note)
