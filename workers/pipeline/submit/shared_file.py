"""One file for many submissions: what is small and waits for its turn goes with the one whose turn has come.

Each case keeps its own submission: its journal, its confirmation, its undo. Only the file is shared. It follows
from the chunks of its members alone, so that every try writes the same bytes; only the case of the submission that
gives it its name writes it, and the others learn from their chunks what became of it, each at its own next turn.

Usage of pre-aggregated meters does not share: a file may lie there for minutes, and its windows are asked for with
the case held.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from workers.kernel.errors import Corrupt, Paced, Permanent
from workers.kernel.files import file_name, submission_of
from workers.kernel.ledger.cases import CaseReading, HeldCase
from workers.kernel.ledger.chunks import StoredChunk
from workers.kernel.ledger.shared_files import Member, Share
from workers.kernel.ledger.submissions import Submission
from workers.kernel.logs import get_logger
from workers.pipeline.context import Context
from workers.pipeline.record_sets import scan, workspace
from workers.pipeline.submit.last_look import LastLook
from workers.pipeline.submit.meter_windows import Windows, windows_of
from workers.records.schema import IDENTIFIER, TEMPLATE_COLUMNS, is_payload
from workers.targets import Chunk, Outgoing, Rows, Sent, Target, Withheld
from workers.targets.files import KEY, LOCATION, PUT_AGAIN

log = get_logger(__name__)

SMALL: Final = 10_000
"""Records of the largest submission that shares a file."""
MOST_RECORDS: Final = 100_000
MOST_BYTES: Final = 64_000_000
"""Records and bytes of text that share a file: it is far from any limit at which it would be split."""
MOST_SUBMISSIONS: Final = 500
"""Submissions that share a file: what is told of it is taken in by each of their cases, in one job."""
_UNRESOLVED: Final = "unresolved"
"""In a chunk's result: nobody can say whether the file has arrived, and it is too late to write it again."""
_AGAIN_SECONDS: Final = 10.0


def begin_together(
    context: Context, held: HeldCase, submission: Submission, most_bytes: int = MOST_BYTES
) -> str | None:
    """Commit that a submission is about to go in one file with others that wait, and return the file's name.

    The file has `most_bytes` of text at most. None where it goes by itself. What the last look stops of any of
    them is left out. Raises Conflict when the lease was lost.
    """
    if submission.records > SMALL or any(one.was_refused_whole for one in held.submissions):
        return None
    failure, shared_files = held.case.failure, context.ledger.shared_files
    waiting = shared_files.waiting(
        submission, failure, context.lease, most_records=SMALL, limit=MOST_SUBMISSIONS - 1
    )
    windows = windows_of(context, failure.account) if waiting else None
    if windows is None or _is_windowed(submission, windows):
        return None
    loading = _Loading(context, windows, most_bytes)
    first = loading.share(held, submission)
    others = list(loading.shares_of(one for one in waiting if not _is_windowed(one, windows)))
    if first is None or not others:
        return None
    file = file_name(submission.id)
    shared_files.begin(held.renewed, file, first, others, context.lease)
    return file


def send_together(
    context: Context,
    account: str | None,
    submission: Submission,
    file: str,
    target: Callable[[], Target],
    *,
    fresh: bool,
) -> Sent:
    """Return what became of a submission in a shared file; the one that gives it its name writes it first.

    `fresh`: it was begun in this very turn. Raises Paced while the others wait for that, else as `Target.send`.
    """
    members = context.ledger.shared_files.members(file)
    if _of(submission, members).chunk.result is None:
        if file != file_name(submission.id):
            writer = submission_of(file)
            raise Paced(f"its records go in {file}, which {writer} writes", retry_after=_AGAIN_SECONDS)
        _write(context, account, file, members, target(), fresh=fresh)
        members = context.ledger.shared_files.members(file)
    return _answer(context, _of(submission, members))


def as_stored(withheld: Iterable[Withheld]) -> Mapping[str, Sequence[Any]]:
    """Return what was left out of a chunk as the ledger keeps it."""
    return {one.identifier: (one.reason, one.advice, one.tried_before) for one in withheld}


def chunk_of(stored: StoredChunk) -> Chunk:
    """Return a chunk of the ledger as targets know it."""
    rows = Rows(stored.first, stored.records) if stored.first is not None and stored.records is not None else None
    return Chunk(stored.intended_at, stored.result, _withheld(stored), stored.verdict is not None, rows=rows)


def _is_windowed(submission: Submission, windows: Windows) -> bool:
    return not windows.meters.keys().isdisjoint(submission.event_names)


@dataclass
class _Loading:
    """A file that is being filled: each identifier once, and within its bounds."""

    _context: Context
    _windows: Windows
    _most_bytes: int

    def __post_init__(self) -> None:
        self._names: set[str] = set()
        self._columns: set[str] = set()
        self._bytes = 0

    def shares_of(self, waiting: Iterable[Submission]) -> Iterator[Share]:
        """Yield the shares of those that still fit; what cannot be read is left to its own case to tell."""
        for submission in waiting:
            try:
                share = self.share(self._context.ledger.cases.read(submission.case_id), submission)
            except Permanent as error:
                log.warning("cannot_share_a_file", submission_id=submission.id, error=str(error))
                continue
            if share is not None:
                yield share

    def share(self, case: CaseReading, submission: Submission) -> Share | None:
        """Return what a submission brings, None where it does not fit."""
        rows = template_rows(self._context, submission)
        names, size = set(rows[IDENTIFIER]), self._bytes + int(rows.estimated_size())
        records, columns = len(self._names) + rows.height, self._columns.union(rows.columns)
        text = size + records * len(columns)  # a separator after each cell, also of columns that others bring
        too_many = records > MOST_RECORDS or text > self._most_bytes
        if too_many or len(names) < rows.height or not names.isdisjoint(self._names):
            return None
        withheld = LastLook(self._context, case, submission, self._windows)(Rows(0, submission.records))
        self._names |= names
        self._columns, self._bytes = columns, size
        return Share(submission, case.case.version, as_stored(withheld))


@dataclass(frozen=True)
class _SharedProgress:
    """A target's progress with a shared file: one chunk, of the records of all members in their order."""

    context: Context
    account: str | None
    file: str
    members: Sequence[Member]
    fresh: bool

    def chunks(self) -> Mapping[int, Chunk]:
        stored = [member.chunk for member in self.members]
        left_out = tuple(one for chunk in stored for one in _withheld(chunk))
        judged = any(chunk.verdict is not None for chunk in stored)
        return {1: Chunk(stored[0].intended_at, stored[0].result, left_out, judged, self.fresh)}

    def may_not_go(self, rows: Rows) -> tuple[Withheld, ...]:
        """Return what of all members must not go any more: the file goes again only whole."""
        del rows
        windows, cases = windows_of(self.context, self.account), self.context.ledger.cases
        found: list[Withheld] = []
        for submission in (member.submission for member in self.members):
            look = LastLook(self.context, cases.read(submission.case_id), submission, windows)
            found += look(Rows(0, submission.records))
        return tuple(found)

    def intend(self, number: int, rows: Rows, withheld: tuple[Withheld, ...]) -> None:
        """Refuse to begin a second file: what shares one is far smaller than any file's bounds."""
        del number, rows, withheld
        raise Corrupt(f"{self.file} does not hold the records of all that share it")

    def finish(self, number: int, result: Any) -> None:
        """Write down for all members what became of the file."""
        del number
        self.context.ledger.shared_files.finish(self.file, result)


def _write(
    context: Context, account: str | None, file: str, members: Sequence[Member], target: Target, *, fresh: bool
) -> None:
    writer = submission_of(file)
    assert writer is not None, "a shared file has the name of a submission"
    with workspace(context) as folder:
        records = _joined(context, members, folder / "together.parquet")
        outgoing = Outgoing(writer, account, folder / "together.parquet", records)
        sent = target.send(outgoing, _SharedProgress(context, account, file, members, fresh))
    if sent.unresolved:
        lost = {KEY: file, LOCATION: sent.location, "records": 0, "bytes": 0, PUT_AGAIN: True, _UNRESOLVED: True}
        context.ledger.shared_files.finish(file, lost)


def _joined(context: Context, members: Sequence[Member], into: Path) -> int:
    """Write the records of all members as one record set and return how many they are."""
    rows = pl.concat([template_rows(context, member.submission) for member in members], how="diagonal")
    rows.write_parquet(into)
    return rows.height


def template_rows(context: Context, submission: Submission) -> pl.DataFrame:
    """Return what of a submission's records stands in a file."""
    records = scan(context, submission.ref)
    names = records.collect_schema().names()
    return records.select(name for name in names if name in TEMPLATE_COLUMNS or is_payload(name)).collect()


def _of(submission: Submission, members: Sequence[Member]) -> Member:
    return next(member for member in members if member.submission.id == submission.id)


def _answer(context: Context, member: Member) -> Sent:
    submission, result, withheld = member.submission, member.chunk.result, _withheld(member.chunk)
    assert result is not None, "a file has been finished before its members are answered"
    left_out = {one.identifier for one in withheld}
    names = template_rows(context, submission)[IDENTIFIER] if result.get(_UNRESOLVED) else ()
    unresolved = tuple(name for name in names if name not in left_out)
    accepted = submission.records - len(withheld) - len(unresolved)
    return Sent(result[LOCATION], accepted, unresolved=unresolved, withheld=withheld)


def _withheld(stored: StoredChunk) -> tuple[Withheld, ...]:
    return tuple(Withheld(identifier, *words) for identifier, words in (stored.withheld or {}).items())
