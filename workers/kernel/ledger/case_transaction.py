"""One commit to a case: its entries, its submissions and when it is looked at next; all of it or nothing."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection

from workers.kernel.erasing import Eraser
from workers.kernel.errors import Corrupt
from workers.kernel.ledger.appraisal import Appraisal
from workers.kernel.ledger.awaited import CaseAwaited
from workers.kernel.ledger.case import Case, facts_of, state_of
from workers.kernel.ledger.case_facts import SETTLED, CaseFacts, forget_customers, keep_names, keep_recovered
from workers.kernel.ledger.erasure import EVENTS, erase_from_case
from workers.kernel.ledger.events import receipt_digests
from workers.kernel.ledger.examples import forget_examples, keep_examples
from workers.kernel.ledger.hash_chain import ENTRIES, GENESIS, entry_hash
from workers.kernel.ledger.journal import Bucket, EntryKind, Movement, RecordSetRef
from workers.kernel.ledger.open_parts import keep_open_money, keep_open_usage
from workers.kernel.ledger.standings import keep_standings
from workers.kernel.ledger.submissions import CaseSubmissions


class CaseTransaction:
    """What is written to one case in one commit.

    What is known of the case itself and of its submissions stands in their rows and may change there, so the first
    entry of the commit says in its detail what was written: the chain covers it so. A commit that moves no record
    gets an entry for it.
    """

    def __init__(self, connection: Connection, case: Case, now: datetime) -> None:
        self._connection = connection
        self._case = case
        self._now = now
        self._version, self._head, self.balance = case.version, case.head, case.balance
        self._changes: dict[str, Any] = {}
        self._movements: list[Movement] = []
        self._described: dict[str, Any] = {}
        self._evidence: dict[str, str] = {}
        self.submissions = CaseSubmissions(connection, case.id, case.failure.account, now)
        self.awaited = CaseAwaited(connection, case.id)

    def move(self, *movements: Movement) -> None:
        """Append entries and apply them to the balance. Raises Corrupt when one would overdraw a bucket."""
        for movement in movements:
            self.balance = self.balance.after(movement)
            if not self.balance.holds():
                raise Corrupt(f"{movement.kind} would break the journal of {self._case.id}")
            self._movements.append(movement)
            keep_examples(self._connection, self._case.id, movement.examples)

    def forget_records(self) -> None:
        """Remove the few records that are kept for showing, and whose they all were: the case's files go."""
        forget_examples(self._connection, self._case.id)
        forget_customers(self._connection, self._case.id)

    def erase(self, eraser: Eraser, records: Collection[int], act_id: str) -> Mapping[str, Any]:
        """Erase a customer from all rows of the case; return what the entry that says so must tell of it.

        `records` are the numbers of his records. Raises Overtaken when the account is just sending something.
        """
        left = erase_from_case(self._connection, self._case.id, eraser, records, act_id)
        self.submissions.take_turns_again()
        self._changes |= left.columns
        self._described |= left.failure
        begun = {GENESIS: left.genesis} if left.genesis else {}
        return {ENTRIES: left.entries, EVENTS: left.events, **begun}

    def show(self, evidence: Iterable[RecordSetRef]) -> None:
        """Name files of the archive that show why the entries of this commit are made."""
        self._evidence |= {file.name: file.sha256 for file in evidence}

    def reschedule(self, at: datetime | None, *, trouble: str | None = None) -> None:
        """Set when the case must be looked at next; None means when something arrives for it.

        Failures and deaths until now are forgotten. `trouble` says what keeps it waiting, if that is worth a look.
        """
        self._changes |= {"due_at": at, "attempts": 0, "deaths": 0, "trouble": trouble}

    def record_failure(self, trouble: str, at: datetime | None) -> None:
        """Note that work on the case failed and when it is tried again; None leaves it to a person."""
        self._changes |= {"trouble": trouble, "due_at": at, "attempts": self._case.attempts + 1}

    def alerted(self, meaning: str) -> None:
        """Remember what was last said of the case, so that it is not said twice."""
        self._changes["alerted"] = meaning

    def know(self, facts: CaseFacts, appraisal: Appraisal) -> None:
        """Keep what lists of cases show and are searched by; the case is soon appraised anew, as Stripe says."""
        appraised = appraisal.columns(self._case.opened_at, self._now)
        self._changes |= facts.columns() | appraised | {"appraise_at": self._now}
        keep_names(self._connection, self._case.id, facts.names)
        keep_standings(self._connection, self._case.id, facts.standings)
        keep_recovered(self._connection, self._case.id, self._version, facts, self._now)
        keep_open_usage(self._connection, self._case.id, facts.by_meter)
        keep_open_money(self._connection, self._case.id, appraisal.at_risk)

    def describe(self, **fields: str | None) -> None:
        """Complete what is known of the failure, such as the meter's event name."""
        failure = self._case.failure
        self._described |= {name: value for name, value in fields.items() if getattr(failure, name) != value}

    def entries(self) -> Sequence[dict[str, Any]]:
        facts = {CASE: self._described, SUBMISSIONS: self.submissions.told, EVIDENCE: self._evidence}
        if any(facts.values()) and not self._movements:
            self.move(Movement(EntryKind.NOTED, None, None, 0, Decimal(0)))
        if self._case.version == 0:
            facts[CASE] = facts_of(self._case) | self._described
        events = {movement.event_id for movement in self._movements if movement.event_id}
        digests = receipt_digests(self._connection, events) if events else {}
        rows: list[dict[str, Any]] = []
        for movement in self._movements:
            beside = {} if rows else {name: fact for name, fact in facts.items() if fact}
            digest = {EVENT_DIGEST: digests[movement.event_id]} if movement.event_id in digests else {}
            rows.append(self._entry(movement, {**movement.detail, **digest, **beside}))
        return rows

    def _entry(self, movement: Movement, detail: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        row = {
            "case_id": self._case.id,
            "number": self._version,
            **{name: getattr(movement, name) for name in _MOVEMENT_COLUMNS},
            "record_set": movement.record_set.name if movement.record_set else None,
            "record_set_sha256": movement.record_set.sha256 if movement.record_set else None,
            "detail": detail,
            "at": self._now,
            "previous": self._head,
        }
        self._head = row["hash"] = entry_hash(row)
        return row

    def changes(self) -> dict[str, Any]:
        still_open = sum(self.balance[bucket].records for bucket in Bucket if bucket not in SETTLED)
        kept = {"balance": self.balance.to_json(), "open_records": still_open}
        return {**self._standing(), **kept, **self._described}

    def case(self) -> Case:
        failure = replace(self._case.failure, **self._described)
        return replace(self._case, failure=failure, balance=self.balance, **self._standing())

    def _standing(self) -> dict[str, Any]:
        standing = {"version": self._version, "head": self._head, "state": state_of(self.balance)}
        return {**standing, "changed_at": self._now, **self._changes}


CASE: Final = "case"
"""Key in an entry's detail: what is known of the case, by column; of a later entry only what has changed."""
SUBMISSIONS: Final = "submissions"
"""Key in an entry's detail: what was written of each submission, by column."""
EVIDENCE: Final = "evidence"
"""Key in an entry's detail: name -> sha256 of files in the archive."""
EVENT_DIGEST: Final = "event_digest"
"""Key in an entry's detail: the digest of the event that `event_id` names, as `events.receipt_digest` makes it."""

_MOVEMENT_COLUMNS = (
    "kind", "from_bucket", "to_bucket", "records", "quantity", "revision", "submission_id", "event_id", "actor",
)  # fmt: skip
