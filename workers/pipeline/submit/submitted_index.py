"""Which of our own submissions carried a record: asked at every refusal and for every plan.

Identifiers are looked up by their hashes first, kept in memory for all small submissions together, and read from
the archive only where a hash agrees. Submissions take turns, so that only those are read of the ledger that have
come since: a question costs the same however many there are.
"""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Final
from weakref import WeakKeyDictionary

import polars as pl

from workers.kernel.errors import Corrupt, Permanent
from workers.kernel.ledger import Ledger
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
_PAGE: Final = 1000
"""Submissions that are read of the ledger at a time."""
_HASH: Final = "@hash"
_NUMBER: Final = "@number"


def recent_submissions(context: Context, account: str | None) -> list[Submission]:
    """Return the account's submissions whose usage Stripe could still refuse."""
    return list(context.ledger.submissions.since(_refused_since(context), account))


def may_be_refused(context: Context, submission: Submission) -> bool:
    """Whether Stripe could still refuse usage of the submission."""
    return submission.intended_at >= _refused_since(context)


def _refused_since(context: Context) -> datetime:
    return context.clock() - MAX_AGE - timedelta(days=1)


def sent_with(context: Context, submissions: Sequence[Submission], event_name: str | None) -> list[Submission]:
    """Return these submissions and those that share a file with one of them, where they carry the event name."""
    found = {one.id: one for one in (*submissions, *context.ledger.shared_files.mates([s.id for s in submissions]))}
    return [one for one in found.values() if event_name is None or event_name in one.event_names]


def may_have_carried(context: Context, account: str | None, column: str, wanted: pl.Series) -> list[Submission]:
    """Return those of all submissions of the account, oldest first, in which a wanted text may stand in `column`.

    Of all: a rule may date the oldest usage anew, and bill it again.
    """
    texts = wanted.drop_nulls().unique()
    if texts.is_empty():
        return []
    columns = _kept.setdefault(context.ledger, {})
    ids = columns.setdefault(column, _Hashes(column)).with_any(context, account, texts.hash())
    return context.ledger.submissions.named(ids)


def carried(context: Context, submissions: Sequence[Submission], column: str, wanted: pl.Series) -> pl.DataFrame:
    """Return (`column`, RECORD, SUBMISSION, CASE) of each record of these that has a wanted text in `column`."""
    texts = wanted.drop_nulls().unique().alias(column)
    found = [pl.DataFrame(schema={column: pl.String, RECORD: pl.Int64, SUBMISSION: pl.String, CASE: pl.String})]
    for submission in submissions:
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
    """The hashes of one column of the submissions of one ledger: every job of this process may use them.

    `_seen` has the turn of an account that was read last, and whose it was. `_unkept` are submissions that are read
    each time. `_named` has account and id of each of the others, by the number that its hashes bear.
    """

    def __init__(self, column: str) -> None:
        self._column = column
        self._lock = threading.Lock()
        self._seen: dict[str | None, tuple[int, str, datetime]] = {}
        self._unkept: defaultdict[str | None, list[str]] = defaultdict(list)
        self._named: dict[int, tuple[str | None, str]] = {}
        self._numbers = count()
        self._rows = pl.DataFrame(schema={_HASH: pl.UInt64, _NUMBER: pl.UInt32})

    def with_any(self, context: Context, account: str | None, hashes: pl.Series) -> list[str]:
        """Return the ids of the account's submissions that may have one of the hashes."""
        with self._lock:
            for new in self._new(context, account):
                self._keep(context, account, new)
            hits = self._rows.filter(pl.col(_HASH).is_in(hashes.implode()))[_NUMBER].unique()
            named = [self._named[number] for number in hits]
            ids = [*(submission for owner, submission in named if owner == account), *self._unkept[account]]
            return list(dict.fromkeys(ids))

    def _new(self, context: Context, account: str | None) -> Iterator[list[Submission]]:
        """Yield the account's submissions since those that are known, some at a time."""
        while True:
            seen = self._seen.get(account)
            # The last turn is read again: where the ledger was restored from a backup it is another's, or nobody's.
            found = context.ledger.submissions.after_turn(account, seen[0] - 1 if seen else 0, most=_PAGE)
            if seen and (not found or _mark(*found.pop(0)) != seen):
                self._forget(account)
                continue
            if not found:
                return
            yield [submission for _, submission in found]
            self._seen[account] = _mark(*found[-1])

    def _keep(self, context: Context, account: str | None, new: list[Submission]) -> None:
        small = [submission for submission in new if submission.records <= _SMALL]
        if self._rows.height + sum(submission.records for submission in small) > _MOST_KEPT:
            self._forget(*(other for other in self._seen if other != account))
        room = _MOST_KEPT - self._rows.height
        named: dict[int, tuple[str | None, str]] = {}
        unkept, frames = [], [self._rows]
        for submission in new:
            if submission.records > min(_SMALL, room):
                unkept.append(submission.id)
                continue
            try:
                records = _kept_of(context, submission)
            except Permanent:  # whoever reads it meets that, and he alone
                unkept.append(submission.id)
                continue
            number = next(self._numbers)
            named[number] = account, submission.id
            room -= submission.records
            if records is not None:
                texts = records.select(self._column).collect()[self._column]
                frames.append(pl.select(texts.hash().alias(_HASH), pl.lit(number, pl.UInt32).alias(_NUMBER)))
        self._named |= named
        self._rows = pl.concat(frames, rechunk=True)
        self._unkept[account] += unkept

    def _forget(self, *accounts: str | None) -> None:
        """Know nothing more of these accounts; they are read anew when they are asked about."""
        for account in accounts:
            self._seen.pop(account, None)
            self._unkept.pop(account, None)
        self._named = {number: named for number, named in self._named.items() if named[0] not in accounts}
        self._rows = self._rows.filter(pl.col(_NUMBER).is_in(list(self._named)))


def _mark(turn: int, submission: Submission) -> tuple[int, str, datetime]:
    """Return what tells a turn from the same one of another history: ids follow from cases and repeat."""
    return turn, submission.id, submission.intended_at


_kept: WeakKeyDictionary[Ledger, dict[str, _Hashes]] = WeakKeyDictionary()
