"""Proving the book: recomputing it from its entries, and from the record sets themselves.

For each case, in this order, until something does not hold:

1. The hash chain: no entry was altered, removed or added.
2. The balance, folded again from the entries, is the one that the case shows, and the equation holds in it.
3. Every submission stands in the book as it was sent.
4. The records: every set has the digest it was kept with, each record moves from where it stood to one other place,
   and what the sets say at the end is what the balance says, in records and in quantity.

The last step keeps four bytes a record in memory; the sets are read in batches of two columns.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from workers.archive import Archive
from workers.kernel.errors import Conflict, Corrupt, InputUnusable
from workers.kernel.ledger import Ledger, chain
from workers.kernel.ledger.case import Case, state_of
from workers.kernel.ledger.movements import Balance, Bucket, EntryKind, Movement, Tally
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.submissions import Submission, SubmissionState
from workers.pipeline.walking import Breach, first_misplaced

READS: Final = 10
"""How often a case that is being written to is read again before it is left for later."""


@dataclass(frozen=True)
class CaseProof:
    """What proving one case found. `removed_at`: when retention removed its record sets, so step 4 fell out."""

    case_id: str
    balance: Balance
    entries: int
    record_sets: int
    breach: Breach | None
    removed_at: datetime | None


@dataclass(frozen=True)
class _Book:
    """A case with its entries and submissions, all as of one moment."""

    case: Case
    chained: Sequence[dict[str, Any]]
    entries: Sequence[EntryRow]
    submissions: Sequence[Submission]

    @property
    def removed_at(self) -> datetime | None:
        return next((entry.at for entry in self.entries if entry.kind == EntryKind.REMOVED), None)


def prove(ledger: Ledger, archive: Archive, case_id: str | None = None) -> Iterator[CaseProof]:
    """Prove one case or all of them, oldest first.

    Raises InputUnusable when there is no such case, Transient while the archive is away, LedgerUnavailable.
    """
    for one in [case_id] if case_id else ledger.queries.case_ids():
        book = _read(ledger, one)
        yield CaseProof(
            one,
            book.case.balance,
            len(book.entries),
            sum(entry.record_set is not None for entry in book.entries),
            next(_breaches(book, archive), None),
            book.removed_at,
        )


def _read(ledger: Ledger, case_id: str) -> _Book:
    """Read a case so that all parts of it are of one moment, while workers go on."""
    for _ in range(READS):
        case = ledger.cases.get(case_id)
        if case is None:
            raise InputUnusable("there is no such case", where=case_id, mend="`metermend cases` lists them")
        chained = [dict(row) for row in ledger.queries.chained_entries(case_id)]
        book = _Book(case, chained, ledger.queries.entries(case_id), ledger.submissions.of_case(case_id))
        again = ledger.cases.get(case_id)
        if again is not None and again.version == case.version:
            return book
    raise Conflict(f"{case_id} is being written to all the time: prove it again in a while")


def _breaches(book: _Book, archive: Archive) -> Iterator[Breach]:
    yield from _altered(book)
    yield from _misfolded(book)
    yield from _unlike_submissions(book)
    if book.removed_at is None:
        yield from first_misplaced(book.entries, book.case.balance, archive)


def _altered(book: _Book) -> Iterator[Breach]:
    found = chain.first_break(book.case.failure.key, book.case.head, book.chained)
    if found:
        yield Breach(*found)


def _misfolded(book: _Book) -> Iterator[Breach]:
    balance = Balance()
    for entry in book.entries:
        try:
            balance = balance.after(_movement(entry))
        except Corrupt as error:
            yield Breach(entry.number, str(error))
            return
        if not balance.holds():
            yield Breach(entry.number, "the equation does not hold after it")
    case, number = book.case, len(book.entries)
    if case.version != number:
        yield Breach(number, f"the case counts {case.version} entries, the book has {number}")
    if case.balance != balance + Balance():
        yield Breach(number, "the case's balance is not what its entries add up to")
    if number and case.state is not state_of(balance):
        yield Breach(number, f"the case is {case.state}, but its book says {state_of(balance)}")


def _movement(entry: EntryRow) -> Movement:
    source, to = (Bucket(name) if name else None for name in (entry.from_bucket, entry.to_bucket))
    return Movement(EntryKind(entry.kind), source, to, entry.records, Decimal(entry.quantity))


def _unlike_submissions(book: _Book) -> Iterator[Breach]:
    known = {submission.id: submission for submission in book.submissions}
    for entry in book.entries:
        if entry.submission_id is not None and entry.submission_id not in known:
            yield Breach(entry.number, f"it names {entry.submission_id}, which is no submission of the case")
    for submission in book.submissions:
        yield from _unlike_submission(submission, [e for e in book.entries if e.submission_id == submission.id])


def _unlike_submission(submission: Submission, entries: Sequence[EntryRow]) -> Iterator[Breach]:
    intents = [entry for entry in entries if entry.kind == EntryKind.INTENDED]
    if len(intents) != 1:
        yield Breach(None, f"{submission.id} has {len(intents)} entries of intent instead of one")
        return
    if _of(intents[0]) != _of(submission):
        yield Breach(intents[0].number, f"{submission.id} is not what the entry says was to be sent")
    answers = [entry for entry in entries if entry.kind == EntryKind.SENT]
    if len(answers) != (submission.state is not SubmissionState.INTENDED):
        yield Breach(None, f"{submission.id} is {submission.state}, but has {len(answers)} entries of an answer")
    if submission.state is SubmissionState.SETTLED and (left := _in_flight(entries)) != Tally():
        yield Breach(None, f"{submission.id} is settled, but {left.records} of its records are still submitted")


def _of(one: EntryRow | Submission) -> tuple[object, ...]:
    return one.records, Decimal(one.quantity), one.record_set, one.record_set_sha256


def _in_flight(entries: Sequence[EntryRow]) -> Tally:
    """Return what stands in `submitted` after these entries."""
    left = Tally()
    for entry in entries:
        moved = Tally(entry.records, Decimal(entry.quantity))
        left += moved if entry.to_bucket == Bucket.SUBMITTED else Tally()
        left += -moved if entry.from_bucket == Bucket.SUBMITTED else Tally()
    return left
