"""Proving the journal: recomputing it from its entries, and from the record sets themselves.

For each case, in this order, until something does not hold:

1. The hash chain: no entry was altered, removed or added, and none is another than an anchor saw. One that a
   customer was erased from is what the entry says that tells of it.
2. What the case is about is what its entries say.
3. The balance, folded again from the entries, is the one that the case shows, and the equation holds in it.
4. Every submission stands in the journal as it was sent, with Stripe's verdict on it.
5. Every event that led to an entry is there as it was received.
6. The records: every set has the digest it was kept with, each record moves from where it stood to one other place,
   and what the sets say at the end is what the balance says, in records and in quantity. So do the files that
   show the refusal.

Then, over all cases, what none of them shows by itself (`whole_ledger.py`).

Step 6 keeps four bytes a record in memory; the sets are read in batches of two columns.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from workers.archive import Archive
from workers.kernel.errors import Conflict, Corrupt, InputUnusable, Permanent
from workers.kernel.ledger import Ledger, hash_chain
from workers.kernel.ledger.case import Case, facts_of, state_of
from workers.kernel.ledger.case_transaction import CASE, EVENT_DIGEST, EVIDENCE, SUBMISSIONS
from workers.kernel.ledger.events import StoredEvent
from workers.kernel.ledger.hash_chain import plain
from workers.kernel.ledger.journal import Balance, Bucket, EntryKind, Movement, RecordSetRef, Tally
from workers.kernel.ledger.queries import EntryRow, entry_of
from workers.kernel.ledger.submissions import Submission, SubmissionState
from workers.pipeline.audit.anchor import Anchor
from workers.pipeline.audit.record_trail import UNREADABLE, Breach, first_misplaced, unreadable
from workers.pipeline.audit.whole_ledger import breaches_of_the_whole, damaged

READS: Final = 10
"""How often a case that is being written to is read again before it is left for later."""


@dataclass(frozen=True)
class CaseProof:
    """What proving one case found. `removed_at`: when retention removed its record sets, so step 6 fell out.

    `case_id` is None for what is no case's, such as an event. `erasures` are the entries that say that a customer
    was erased from it.
    """

    case_id: str | None
    balance: Balance
    entries: int
    record_sets: int
    breach: Breach | None
    removed_at: datetime | None
    erasures: Sequence[EntryRow] = ()


@dataclass(frozen=True)
class _StoredCase:
    """A case with its entries and submissions, all as of one moment, and the events that led to them."""

    case: Case
    chained: Sequence[Mapping[str, Any]]
    entries: Sequence[EntryRow]
    submissions: Sequence[Submission]
    verdicts: Mapping[str, dict[str, Any]]
    events: Mapping[str, StoredEvent]

    @property
    def removed_at(self) -> datetime | None:
        return next((entry.at for entry in self.entries if entry.kind == EntryKind.REMOVED), None)


def prove(
    ledger: Ledger, archive: Archive, case_id: str | None = None, *, against: Anchor | None = None
) -> Iterator[CaseProof]:
    """Prove one case, or all of them, oldest first, and the ledger as a whole; `against` is compared with both.

    Raises InputUnusable when there is no such case, Transient while the archive is away, LedgerUnavailable.
    """
    named = set()
    for one in [case_id] if case_id else ledger.queries.case_ids():
        proof = _proof(ledger, archive, one, against)
        named |= {one} if proof.breach else set()
        yield proof
    if case_id is None:
        for found, breach in breaches_of_the_whole(ledger, against, named):
            yield CaseProof(found, Balance(), 0, 0, breach, None)


def _proof(ledger: Ledger, archive: Archive, case_id: str, against: Anchor | None) -> CaseProof:
    try:
        stored = _read(ledger, case_id)
        breach = next(_breaches(ledger, stored, archive, against), None)
    except UNREADABLE as error:
        return CaseProof(case_id, Balance(), 0, 0, Breach(None, unreadable(error)), None)
    sets = sum(entry.record_set is not None for entry in stored.entries)
    erasures = [entry for entry in stored.entries if entry.kind == EntryKind.ERASED]
    return CaseProof(case_id, stored.case.balance, len(stored.entries), sets, breach, stored.removed_at, erasures)


def _read(ledger: Ledger, case_id: str) -> _StoredCase:
    """Read a case so that all parts of it are of one moment, while workers go on."""
    for _ in range(READS):
        case = ledger.cases.get(case_id)
        if case is None:
            raise InputUnusable("there is no such case", where=case_id, mend="`metermend cases` lists them")
        chained = ledger.queries.chained_entries(case_id)
        entries = [entry_of(row) for row in chained]
        events = ledger.events.of({entry.event_id for entry in entries if entry.event_id})
        submissions = ledger.submissions.of_case(case_id)
        verdicts = {one.id: ledger.chunks.verdicts(one.id) for one in submissions}
        stored = _StoredCase(case, chained, entries, submissions, verdicts, events)
        again = ledger.cases.get(case_id)
        if again is not None and again.version == case.version:
            return stored
    raise Conflict(f"{case_id} is being written to all the time: prove it again in a while")


def _breaches(ledger: Ledger, stored: _StoredCase, archive: Archive, against: Anchor | None) -> Iterator[Breach]:
    yield from _altered(stored)
    yield from _unlike_anchor(stored, against)
    yield from _unlike_told(facts_of(stored.case), [entry.detail.get(CASE, {}) for entry in stored.entries], "its")
    yield from _misfolded(stored)
    yield from _unlike_submissions(stored)
    yield from _unlike_events(ledger, stored)
    if stored.removed_at is None:
        yield from first_misplaced(stored.entries, stored.case.balance, archive)
        yield from _unlike_evidence(stored.entries, archive)


def _altered(stored: _StoredCase) -> Iterator[Breach]:
    found = hash_chain.first_break(stored.case.failure.key, stored.case.head, stored.chained)
    if found:
        yield Breach(*found)


def _unlike_anchor(stored: _StoredCase, against: Anchor | None) -> Iterator[Breach]:
    seen = against.cases.get(stored.case.id) if against else None
    if against is None or seen is None:
        return
    since = f"since {against.at:%Y-%m-%d %H:%M}"
    if len(stored.chained) < seen.number:
        yield Breach(seen.number, f"it is missing {since}")
    elif stored.chained[seen.number - 1]["hash"] != seen.hash:
        yield Breach(seen.number, f"it was altered, or an entry before it, {since}")


def _unlike_told(now: Mapping[str, Any], told: Iterable[Mapping[str, Any]], whose: str) -> Iterator[Breach]:
    """Yield the columns that are not what was last told of them."""
    last = {name: value for facts in told for name, value in facts.items()}
    for name, value in last.items():
        if now.get(name) != value:
            yield Breach(None, f"{whose} {name} is {now.get(name)!r}, but its entries say {value!r}")


def _unlike_events(ledger: Ledger, stored: _StoredCase) -> Iterator[Breach]:
    for entry in stored.entries:
        event = stored.events.get(entry.event_id or "")
        told = entry.detail.get(EVENT_DIGEST)
        if told is not None and event is None:
            yield Breach(entry.number, f"its event {entry.event_id} is missing")
        elif told is not None and event is not None and event.digest != told:
            yield Breach(entry.number, f"its event {event.id} is not what was received")
    for event, what in damaged(ledger, list(stored.events.values())):
        yield Breach(None, f"event {event.id}: {what}")


def _unlike_evidence(entries: Sequence[EntryRow], archive: Archive) -> Iterator[Breach]:
    for entry in entries:
        for name, sha256 in entry.detail.get(EVIDENCE, {}).items():
            try:
                archive.fetch(RecordSetRef(name, sha256))
            except Permanent as error:  # Corrupt, or gone
                yield Breach(entry.number, str(error))


def _misfolded(stored: _StoredCase) -> Iterator[Breach]:
    balance = Balance()
    for entry in stored.entries:
        try:
            balance = balance.after(_movement(entry))
        except Corrupt as error:
            yield Breach(entry.number, str(error))
            return
        if not balance.holds():
            yield Breach(entry.number, "the equation does not hold after it")
    case, number = stored.case, len(stored.entries)
    if case.version != number:
        yield Breach(number, f"the case counts {case.version} entries, the journal has {number}")
    if case.balance != balance + Balance():
        yield Breach(number, "the case's balance is not what its entries add up to")
    if number and case.state is not state_of(balance):
        yield Breach(number, f"the case is {case.state}, but its journal says {state_of(balance)}")


def _movement(entry: EntryRow) -> Movement:
    source, to = (Bucket(name) if name else None for name in (entry.from_bucket, entry.to_bucket))
    return Movement(EntryKind(entry.kind), source, to, entry.records, Decimal(entry.quantity))


def _unlike_submissions(stored: _StoredCase) -> Iterator[Breach]:
    known = {submission.id: submission for submission in stored.submissions}
    for entry in stored.entries:
        if entry.submission_id is not None and entry.submission_id not in known:
            yield Breach(entry.number, f"it names {entry.submission_id}, which is no submission of the case")
    for submission in stored.submissions:
        yield from _unlike_submission(submission, [e for e in stored.entries if e.submission_id == submission.id])
        told = [entry.detail.get(SUBMISSIONS, {}).get(submission.id, {}) for entry in stored.entries]
        now = plain(asdict(submission)) | stored.verdicts[submission.id]
        yield from _unlike_told(now, told, f"{submission.id}: its")


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
