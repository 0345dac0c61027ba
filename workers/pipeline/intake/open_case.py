"""Writing down what Stripe refused: the records that were found, and the count of those that nobody has shown."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import polars as pl

from workers.kernel.errors import Conflict, Permanent
from workers.kernel.ledger.by_code import BY_CODE
from workers.kernel.ledger.case import Failure
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import FOUND_BY, Bucket, EntryKind, Movement, RecordSetRef
from workers.kernel.ledger.only_counted import settled_by_count, unlocated
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.reasons import NOT_SAMPLED
from workers.pipeline.case_key import IMPORTED
from workers.pipeline.context import Context
from workers.pipeline.examples import with_examples
from workers.pipeline.hold import held_moves
from workers.pipeline.intake.unlocated import Unlocated, by_code, counted_moves, named_without_rows, shared_out
from workers.pipeline.record_sets import FINDING, ORIGIN, keep, movement, numbered, scan, workspace
from workers.records.schema import IDENTIFIER, QUANTITY, REASON, SUGGESTION, with_columns_of

_WINDOW: Final = "window"


@dataclass(frozen=True)
class Seen:
    """What an event shows of a failure: its records, as far as they were found, and the count of the others.

    Records that come with a `REASON` are to be put before a person at once. `evidence` names the archived files
    that show the refusal, `oddities` says what in the event is not as documented. `window` names the one of the
    failure's validation windows that is told of; a failure without windows is told of whole. What a person gives is
    noted `by_hand` even where it says nothing new: he looks for what became of it.
    """

    failure: Failure
    frames: Iterable[pl.DataFrame]
    refused_as: str
    event_id: str
    unlocated: Unlocated
    evidence: Sequence[RecordSetRef] = ()
    oddities: Sequence[str] = ()
    window: str | None = None
    by_hand: bool = False

    def told(self, moves: Iterable[Movement]) -> list[Movement]:
        """Let the entries about what was seen say in which window, and what was odd about it."""
        odd = {"oddities": list(self.oddities)} if self.oddities else {}
        more = {**odd, _WINDOW: self.window} if self.window else odd
        return [replace(move, detail={**move.detail, **more}) if move.kind in FINDING else move for move in moves]

    def counted(self, held: HeldCase) -> int:
        """Return how many records of this window, or of the whole failure, the journal has counted already."""
        return sum(entry.records for entry in self.of_window(held) if entry.kind == EntryKind.SEEN)

    def of_window(self, held: HeldCase) -> list[EntryRow]:
        """Return the entries that brought records of this window, or of the whole failure; also rows of no one."""
        first = held.case.failure.key
        found = (entry for entry in held.journal if entry.kind in FINDING)
        return [e for e in found if FOUND_BY in e.detail or self.window in (None, e.detail.get(_WINDOW, first))]


def take_in_seen(context: Context, seen: Seen) -> str:
    """Open the failure's case with its refused records and return the case's id.

    Of a failure that was taken in before, each record stays counted once: its second event, or a retry after a
    crash, adds only what is new in it. Raises Conflict while another worker holds the
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


def described(failure: Failure) -> dict[str, str | None]:
    """Return what a later telling may know better of a failure."""
    return {
        name: getattr(failure, name)
        for name in ("kind", "summary", "event_name", "import_set_id", "window_start", "window_end")
    }


def _first_moves(context: Context, seen: Seen, rows: RecordSetRef | None) -> Iterator[Movement]:
    if rows is not None:
        yield from _seen_moves(context, seen, rows)
    yield from counted_moves(seen.failure, seen.unlocated, seen.event_id)


def _seen_moves(context: Context, seen: Seen, rows: RecordSetRef) -> Iterator[Movement]:
    found = movement(context, EntryKind.SEEN, (None, Bucket.PENDING), rows, event_id=seen.event_id)
    yield with_examples(context, found)
    yield from held_moves(context, seen.failure.case_id, rows)


def _take_in_again(context: Context, seen: Seen) -> None:
    failure = seen.failure
    with context.ledger.cases.hold(failure.case_id, context.owner, context.lease) as held:
        located = located_rows(context, held.journal)
        known = located_rows(context, seen.of_window(held))
        found = 0

        def unknown() -> Iterator[pl.DataFrame]:
            nonlocal found
            for frame in seen.frames:
                found += frame.height
                yield frame.join(known, left_on=IDENTIFIER, right_on=ORIGIN, how="anti", maintain_order="left")

        rows = _keep_numbered(context, seen, unknown(), first=located.height)
        new_rows = _NO_ROWS if rows is None else scan(context, rows)
        moves = _told_again(context, held, seen, new_rows, located[ORIGIN], found + seen.unlocated.records)
        if moves:
            with held.transaction(last=True) as transaction:
                transaction.move(*seen.told(moves))
                transaction.show(seen.evidence)
                transaction.describe(**described(failure))
                transaction.reschedule(context.clock())
        elif _is_to_be_noted(seen, held):
            with held.transaction(last=True) as transaction:
                transaction.move(Movement(EntryKind.NOTED, None, None, 0, Decimal(0), event_id=seen.event_id))
                transaction.describe(import_set_id=failure.import_set_id)


def _is_to_be_noted(seen: Seen, held: HeldCase) -> bool:
    """Whether a telling without news says from whom it came, once: a person, or an import set not known before."""
    of_new_import_set = seen.failure.import_set_id != held.case.failure.import_set_id
    is_noted = any(entry.event_id == seen.event_id for entry in held.journal)
    return (seen.by_hand or of_new_import_set) and not is_noted


_CHANGED = "they stand in the case already; put the file back as it was uploaded if it should be read again"
_WHICH_ONES = "nobody can tell whether these rows are theirs; take that act back to have them worked on"
_NO_ROWS = pl.LazyFrame(schema={ORIGIN: pl.String})


def _told_again(
    context: Context, held: HeldCase, seen: Seen, rows: pl.LazyFrame, located: pl.Series, records: int
) -> list[Movement]:
    """Return the entries that one more telling adds to the journal; none where it says nothing new.

    `rows` are those that the journal does not hold yet, `located` the identifiers of those that it holds, `records`
    how many records the telling is about in all. Each record is counted once:

    1. A row that was named before and is found now takes the place of its own count.
    2. What the telling counts beyond what its window has counted until now is new: rows first, then names.
    3. Any other new row, and then any new name, takes the place of one that Stripe had only counted.

    An imported file is refused once, so rows of it that are more than were counted are those of a changed file:
    raises Permanent then, and where rows may be those of records that somebody has settled while they were counted.
    """
    failure = seen.failure
    named_before = named_without_rows(held.journal)
    located_since = set(located.filter(located.is_in(list(named_before))))
    waiting = {name: reason for name, reason in named_before.items() if name not in located_since}
    unnamed = unlocated(held.journal) - Counter(waiting.values())
    is_named = pl.col(ORIGIN).is_in(list(waiting))
    named, others = rows.filter(is_named), rows.filter(~is_named)
    by_name = Counter(waiting[origin] for origin in named.select(ORIGIN).collect()[ORIGIN])
    count = others.select(pl.len()).collect().item()
    if failure.kind in IMPORTED and located.len() and count > unnamed.total():
        raise Permanent(f"the file of {failure.case_id} is not what it was when its rows were taken in: {_CHANGED}")
    growth = max(0, records - seen.counted(held))
    settled = settled_by_count(held.journal)
    if settled and rows.select(pl.len()).collect().item() > growth:
        raise Permanent(f"somebody has settled {settled:,} of its records by their count alone: {_WHICH_ONES}")
    by_count = shared_out(unnamed, count - min(count, growth))
    found = pl.concat([named, others.head(by_count.total())])
    moves = list(found_now(context, failure, found, by_name + by_count, event_id=seen.event_id))
    more = count - by_count.total()
    if more:
        ref = keep(context, failure.case_id, "seen", others.slice(by_count.total()))
        moves += _seen_moves(context, seen, ref)
    return [*moves, *_missing(seen, located, waiting, unnamed - by_count, max(0, growth - more))]


def found_now(
    context: Context,
    failure: Failure,
    rows: pl.LazyFrame,
    reasons: Counter[str],
    *,
    event_id: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Iterator[Movement]:
    """Yield the entries by which rows take the place of as many records that were counted only, by reason."""
    if not reasons:
        return
    route = (Bucket.QUARANTINED, Bucket.PENDING)
    ref = keep(context, failure.case_id, "located", rows)
    told = {**(detail or {}), "reasons": dict(reasons)}
    moved = movement(context, EntryKind.LOCATED, route, ref, event_id=event_id, detail=told)
    moved = with_examples(context, moved)
    yield replace(moved, detail={**moved.detail, BY_CODE: by_code(failure, reasons.total())})
    yield from held_moves(context, failure.case_id, ref)


def _missing(
    seen: Seen, located: pl.Series, waiting: Mapping[str, str], unnamed: Counter[str], growth: int
) -> Iterator[Movement]:
    """Yield the entries for records without rows: those that are named for the first time, and a larger count.

    `growth` is how many records the telling still adds to the count, `unnamed` what was only counted before.
    """
    named = {
        reason: [name for name in names if name not in waiting and name not in located]
        for reason, names in seen.unlocated.named.items()
    }
    names = Counter({reason: len(identifiers) for reason, identifiers in named.items()})
    new = min(names.total(), growth)
    counted = shared_out(unnamed, names.total() - new)
    # A name beyond the count may be Stripe's own for a row that was found without one.
    beyond = names.total() - new - counted.total()
    allowed = names.total() - min(beyond, located.null_count())
    named = {reason: named[reason][:most] for reason, most in shared_out(names, allowed).items()}
    names = Counter({reason: len(identifiers) for reason, identifiers in named.items()})
    larger = shared_out(seen.unlocated.unnamed, growth - new)
    # What another window has named already is refused once more here, and nobody knows which row of it.
    larger[NOT_SAMPLED] += growth - new - larger.total()
    missing = Unlocated(+(names + larger), seen.unlocated.suggestions, named)
    yield from counted_moves(seen.failure, missing, seen.event_id, known=counted)


def located_rows(context: Context, entries: Sequence[EntryRow]) -> pl.DataFrame:
    """Return the identifiers, as the sender gave them (`ORIGIN`), of all rows that the journal holds."""
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
            fresh(frame, first=first, refused_as=seen.refused_as).write_parquet(path)
            first += frame.height
            parts.append(path)
        if not parts:
            return None
        records = pl.concat([pl.scan_parquet(part) for part in parts], how="diagonal")
        return keep(context, seen.failure.case_id, "seen", records)


def fresh(frame: pl.DataFrame, *, first: int, refused_as: str) -> pl.DataFrame:
    """Return rows as they enter a journal, numbered from `first`; nothing has read their quantity yet."""
    unread = with_columns_of(frame, (REASON, SUGGESTION)).with_columns(pl.lit(None, pl.String).alias(QUANTITY))
    return numbered(unread, first=first, refused_as=refused_as)


@dataclass(frozen=True)
class Taken:
    """The cases that an event leads to, or why it leads to none."""

    case_ids: tuple[str, ...] = ()
    ignored: str | None = None
