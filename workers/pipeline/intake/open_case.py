"""Writing down what Stripe refused: the records that were found, and the count of those that nobody has shown."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from workers.kernel.errors import Conflict
from workers.kernel.ledger.case import Failure
from workers.kernel.ledger.journal import Bucket, EntryKind, Movement, RecordSetRef
from workers.kernel.ledger.queries import EntryRow
from workers.pipeline.context import Context
from workers.pipeline.hold import held_moves
from workers.pipeline.intake.reported_again import Retold, retold_moves
from workers.pipeline.intake.unlocated import Unlocated, counted_moves
from workers.pipeline.record_sets import FINDING, ORIGIN, keep, movement, numbered, scan, workspace
from workers.records.schema import IDENTIFIER, QUANTITY, REASON, SUGGESTION, with_columns_of


@dataclass(frozen=True)
class Seen:
    """What an event shows of a failure: its records, as far as they were found, and the count of the others.

    Records that come with a `REASON` are to be put before a person at once. `evidence` names the archived files
    that show the refusal, `oddities` says what in the event is not as documented.
    """

    failure: Failure
    frames: Iterable[pl.DataFrame]
    refused_as: str
    event_id: str
    unlocated: Unlocated
    evidence: Sequence[RecordSetRef] = ()
    oddities: Sequence[str] = ()

    def told(self, moves: Iterable[Movement]) -> list[Movement]:
        """Let the entries about what was seen say what was odd about it."""
        odd = {"oddities": list(self.oddities)} if self.oddities else {}
        seen = EntryKind.SEEN
        return [replace(move, detail={**move.detail, **odd}) if move.kind is seen else move for move in moves]


def take_in_seen(context: Context, seen: Seen) -> str:
    """Open the failure's case with its refused records and return the case's id.

    Of a failure that was taken in before, each record stays counted once: its second event, or a retry after a
    crash, adds only what is new in it (`reported_again`). Raises Conflict while another worker holds the
    case, and where one has just taken the failure in: the next try adds what is new to that. Raises Permanent when
    a file is not what it was.
    """
    case_id = seen.failure.case_id
    known = context.ledger.cases.get(case_id)
    if known is not None and known.balance.failed.records:
        _take_in_again(context, seen)
        return case_id
    rows = _keep_numbered(context, seen, seen.frames)
    with context.ledger.cases.hold(seen.failure, context.owner, context.lease) as held:
        if held.case.balance.failed.records:
            raise Conflict(f"{case_id} was taken in by another worker meanwhile")
        with held.transaction(last=True) as transaction:
            transaction.move(*seen.told(_first_moves(context, seen, rows)))
            transaction.show(seen.evidence)
            transaction.reschedule(context.clock())
    return case_id


def _first_moves(context: Context, seen: Seen, rows: RecordSetRef | None) -> Iterator[Movement]:
    if rows is not None:
        yield movement(context, EntryKind.SEEN, (None, Bucket.PENDING), rows, event_id=seen.event_id)
    yield from held_moves(context, seen.failure.case_id, rows)
    yield from counted_moves(seen.failure, seen.unlocated, seen.event_id)


def _take_in_again(context: Context, seen: Seen) -> None:
    failure = seen.failure
    with context.ledger.cases.hold(failure.case_id, context.owner, context.lease) as held:
        entries = held.journal
        located = _located(context, entries)
        found = 0

        def fresh() -> Iterator[pl.DataFrame]:
            nonlocal found
            for frame in seen.frames:
                found += frame.height
                yield frame.join(located, left_on=IDENTIFIER, right_on=ORIGIN, how="anti", maintain_order="left")

        rows = _keep_numbered(context, seen, fresh(), first=located.height)
        retold = Retold(
            _NO_ROWS if rows is None else scan(context, rows),
            located[ORIGIN],
            seen.unlocated,
            found + seen.unlocated.records,
            seen.event_id,
        )
        moves = retold_moves(context, failure, entries, held.case.balance.failed.records, retold)
        if not moves:
            return
        with held.transaction(last=True) as transaction:
            transaction.move(*seen.told(moves))
            transaction.show(seen.evidence)
            transaction.describe(kind=failure.kind, summary=failure.summary)
            transaction.reschedule(context.clock())


_NO_ROWS = pl.LazyFrame(schema={ORIGIN: pl.String})


def _located(context: Context, entries: Sequence[EntryRow]) -> pl.DataFrame:
    """Return the identifiers, as the sender gave them, of all rows that the journal holds."""
    held = [scan(context, entry.ref).select(ORIGIN) for entry in entries if entry.kind in FINDING and entry.ref]
    return pl.concat([pl.LazyFrame(schema={ORIGIN: pl.String}), *held]).collect()


def _keep_numbered(
    context: Context, seen: Seen, frames: Iterable[pl.DataFrame], *, first: int = 0
) -> RecordSetRef | None:
    with workspace(context) as folder:
        parts: list[Path] = []
        for frame in frames:
            if frame.is_empty():
                continue
            path = folder / f"{len(parts)}.parquet"
            unread = with_columns_of(frame, (REASON, SUGGESTION)).with_columns(
                pl.lit(None, pl.String).alias(QUANTITY)
            )
            numbered(unread, first=first, refused_as=seen.refused_as).write_parquet(path)
            first += frame.height
            parts.append(path)
        if not parts:
            return None
        records = pl.concat([pl.scan_parquet(part) for part in parts], how="diagonal")
        return keep(context, seen.failure.case_id, "seen", records)


@dataclass(frozen=True)
class Taken:
    """The cases that an event leads to, or why it leads to none."""

    case_ids: tuple[str, ...] = ()
    ignored: str | None = None
