"""Which of our own submissions carried a record: asked at every refusal and for every plan.

Identifiers are looked up by their hashes first, kept in memory for all small submissions together, and read from
the archive only where a hash agrees: tens of thousands of submissions are asked in milliseconds.
"""

import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import count
from typing import Final

import polars as pl

from workers.kernel.errors import Corrupt, Permanent
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.ledger.submissions import Submission
from workers.pipeline.context import Context
from workers.pipeline.record_sets import RECORD
from workers.records.schema import MAX_AGE

SUBMISSION: Final = "@submission"
CASE: Final = "@case"

_SMALL: Final = 20_000
"""Records of the largest submission whose hashes are kept; larger ones are few and are read each time."""
_MOST_KEPT: Final = 4_000_000
"""Hashes of a column that are kept: 48 MB. Submissions beyond them are read each time."""
_HASH: Final = "@hash"
_SET: Final = "@set"


def all_submissions(context: Context, account: str | None) -> list[Submission]:
    """Return every submission of the account: a rule may date the oldest usage anew, and bill it again."""
    return list(context.ledger.submissions.since(None, account))


def recent_submissions(context: Context, account: str | None) -> list[Submission]:
    """Return the account's submissions whose usage Stripe could still refuse."""
    since = context.clock() - MAX_AGE - timedelta(days=1)
    return list(context.ledger.submissions.since(since, account))


def sent_with(context: Context, submissions: Sequence[Submission], event_name: str | None) -> list[Submission]:
    """Return these submissions and those that share a file with one of them, where they carry the event name."""
    found = {one.id: one for one in (*submissions, *context.ledger.shared_files.mates([s.id for s in submissions]))}
    return [one for one in found.values() if event_name is None or event_name in one.event_names]


def carried(context: Context, submissions: list[Submission], column: str, wanted: pl.Series) -> pl.DataFrame:
    """Return (`column`, RECORD, SUBMISSION, CASE) of each submitted record that has a wanted text in `column`."""
    texts = wanted.drop_nulls().unique().alias(column)
    found = [pl.DataFrame(schema={column: pl.String, RECORD: pl.Int64, SUBMISSION: pl.String, CASE: pl.String})]
    sets = {one.record_set_sha256: one for one in submissions if one.records <= _SMALL}
    ruled_out = _kept.setdefault(column, _Hashes(column)).without(context, sets, texts.hash())
    for submission in submissions:
        if submission.record_set_sha256 in ruled_out:
            continue
        rows = _kept_of(context, submission)
        if rows is None:
            continue
        hits = rows.select(column, RECORD).join(texts.to_frame().lazy(), on=column, how="semi").collect()
        names = pl.lit(submission.id).alias(SUBMISSION), pl.lit(submission.case_id).alias(CASE)
        found.append(hits.with_columns(*names))
    return pl.concat(found)


def _kept_of(context: Context, submission: Submission) -> pl.LazyFrame | None:
    """Return a submission's records; None where retention removed them. Raises Permanent where they are lost."""
    try:
        return pl.scan_parquet(context.archive.fetch(submission.ref))  # retention may remove it at any time
    except Corrupt:
        raise
    except Permanent:
        now = context.ledger.submissions.get(submission.id)
        if now is not None and now.ref != submission.ref:  # a customer was erased from it meanwhile
            return _kept_of(context, now)
        entries = context.ledger.queries.entries(submission.case_id)
        if any(entry.kind == EntryKind.REMOVED for entry in entries):
            return None
        raise


class _Hashes:
    """The hashes of one column of record sets, by the digest of the set: every job of this process may use them."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._next = count()
        self._numbers: dict[str, int] = {}
        self._rows = pl.DataFrame(schema={_HASH: pl.UInt64, _SET: pl.UInt32})
        self._turn = threading.Lock()

    def without(self, context: Context, sets: Mapping[str, Submission], hashes: pl.Series) -> set[str]:
        """Return the digests of those sets that are known to hold none of the hashes."""
        with self._turn:
            new = [submission for digest, submission in sets.items() if digest not in self._numbers]
            if new:
                self._make_room(sum(submission.records for submission in new), sets)
                self._keep(context, new)
            hit = set(self._rows.filter(pl.col(_HASH).is_in(hashes.implode()))[_SET])
            return {digest for digest in sets if self._numbers.get(digest) not in {None, *hit}}

    def _make_room(self, records: int, asked: Mapping[str, Submission]) -> None:
        """Forget what is not asked for, where so many more are not to be kept beside it."""
        if self._rows.height + records > _MOST_KEPT:
            self._numbers = {digest: number for digest, number in self._numbers.items() if digest in asked}
            self._rows = self._rows.filter(pl.col(_SET).is_in(list(self._numbers.values())))

    def _keep(self, context: Context, new: list[Submission]) -> None:
        numbers: dict[str, int] = {}
        frames = [self._rows]
        room = _MOST_KEPT - self._rows.height
        for submission in new:
            room -= submission.records
            if room < 0:
                break
            numbers[submission.record_set_sha256] = number = next(self._next)
            records = _kept_of(context, submission)
            if records is None:
                continue
            texts = records.select(self._column).collect()[self._column]
            frames.append(pl.select(texts.hash().alias(_HASH), pl.lit(number, pl.UInt32).alias(_SET)))
        self._rows = pl.concat(frames, rechunk=True)
        self._numbers |= numbers


_kept: dict[str, _Hashes] = {}
