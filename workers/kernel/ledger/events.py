"""Stripe's events as received: stored once, claimed by one worker at a time, ended in a visible state."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, and_, delete, func, insert, literal, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from workers.kernel.clock import Clock
from workers.kernel.ledger.database import COPIED, Database
from workers.kernel.ledger.hash_chain import digest
from workers.kernel.ledger.leases import LONGEST_WAIT, Lease, Leases, is_over
from workers.kernel.ledger.links import LANES, lane_of
from workers.kernel.ledger.tables import cases, entries, event_counts, events

PAGE: Final = 200
"""Events that are read at a time, with their bodies."""


class EventState(StrEnum):
    """received -> processing -> done | ignored | failed; a lost lease leads back to processing."""

    RECEIVED = "received"
    PROCESSING = "processing"
    DONE = "done"
    IGNORED = "ignored"
    FAILED = "failed"


OPEN: Final = (EventState.RECEIVED, EventState.PROCESSING)
"""States from which a worker may take an event up, once its time has come."""
ENDED: Final = (EventState.DONE, EventState.IGNORED, EventState.FAILED)


class Origin(StrEnum):
    """How an event came to us."""

    DELIVERED = "delivered"
    """Stripe posted it; `raw` is the body as signed."""
    RECONCILED = "reconciled"
    """We found it in Stripe's own list; `raw` is the JSON of the list, which holds a thin event's data too."""
    GIVEN = "given"
    """A person gave a file; `raw` says which, see `workers.kernel.given_file`."""


@dataclass(frozen=True)
class NewEvent:
    """What is known of an event when it is stored. `large` keeps its work from standing before small events."""

    id: str
    kind: str
    type: str
    livemode: bool
    raw: bytes
    account: str | None = None
    object_id: str | None = None
    created_at: datetime | None = None
    ignored: str | None = None
    large: bool = False
    origin: Origin = Origin.DELIVERED


@dataclass(frozen=True)
class StoredEvent:
    """An event as the ledger holds it. `raw` is None once retention has removed the body.

    `erased` is what `erasure.erase_event` notes of one that a customer was erased from.
    """

    id: str
    kind: str
    type: str
    account: str | None
    livemode: bool
    object_id: str | None
    created_at: datetime | None
    received_at: datetime
    raw: bytes | None
    sha256: str
    origin: Origin
    large: bool
    state: EventState
    reason: str | None
    attempts: int
    deaths: int
    erased: Mapping[str, Any] | None = None

    @property
    def digest(self) -> str:
        """The digest of the event as it was received, which entries and anchors hold."""
        return digest_of(vars(self))


_COLUMNS = [events.c[name] for name in StoredEvent.__dataclass_fields__]


RECEIPT: Final = (
    "id", "kind", "type", "account", "livemode", "object_id", "created_at", "received_at", "sha256", "origin",
)  # fmt: skip
"""What never changes of an event: the columns that its digest covers."""


RECEIVED_AS: Final = "digest"
"""In what is noted of an event that a customer was erased from: its digest as it was received."""
LEFT: Final = "sha256"
"""Likewise: the digest of what is left of its body; None where nothing is."""


def receipt_digest(event: Mapping[str, Any]) -> str:
    """Return the digest of an event as it was received; `event` has the columns of the events table."""
    return digest({name: event[name] for name in RECEIPT})


def digest_of(event: Mapping[str, Any]) -> str:
    """Return the digest that an event had as it was received, also where a customer was erased from it since."""
    erased = event["erased"]
    return str(erased[RECEIVED_AS]) if erased else receipt_digest(event)


def receipt_digests(connection: Connection, event_ids: Collection[str]) -> dict[str, str]:
    """Return the digest of each of these events that the ledger holds."""
    query = select(*(events.c[name] for name in (*RECEIPT, "erased"))).where(events.c.id.in_(event_ids))
    return {row["id"]: digest_of(dict(row)) for row in connection.execute(query).mappings()}


_RECEIVED = ("id", "kind", "type", "livemode", "raw", "account", "object_id", "created_at", "large", "origin")


class Events:
    """The events table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._leases = Leases(
            database, clock, events, "due_at", lambda: {"state": EventState.RECEIVED, "due_at": clock()}
        )

    def record(self, receipt: NewEvent) -> bool:
        """Commit an event; return False when its id is known already. Raises LedgerUnavailable."""
        [is_new] = self.record_together([receipt])
        return is_new

    def record_together(self, receipts: Sequence[NewEvent]) -> list[bool]:
        """Commit events in one transaction; return of each whether it is new. Raises LedgerUnavailable.

        Of two with one id the first is kept.
        """
        now = self._clock()
        firsts = {receipt.id: receipt for receipt in reversed(receipts)}
        # In one order: another process may be storing the same events, and each would wait for the other.
        rows = [_row(firsts[event_id], now) for event_id in sorted(firsts)]
        known: set[str] = set()
        while new := [row for row in rows if row["id"] not in known]:
            try:
                self._insert(new)
            except IntegrityError:
                if known == (known := self.known([row["id"] for row in rows])):
                    raise
            else:
                break
        return [receipt.id not in known and firsts[receipt.id] is receipt for receipt in receipts]

    def _insert(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Commit events that should be new: raises IntegrityError when one is not, and then none is kept."""
        with self._database.write() as connection:
            connection.execute(insert(events), rows, execution_options=COPIED)
            ignored = Counter(lane_of(row["id"]) for row in rows if row["state"] == EventState.IGNORED)
            for lane, number in sorted(ignored.items()):
                values = {EventState.IGNORED: event_counts.c.ignored + number}
                connection.execute(update(event_counts).where(event_counts.c.lane == lane).values(values))

    def get(self, event_id: str) -> StoredEvent | None:
        return self.of([event_id]).get(event_id)

    def keep_fetched(self, event_id: str, body: bytes) -> None:
        """Keep a thin event as Stripe's API gave it, for whoever looks into what became of it."""
        with self._database.write() as connection:
            connection.execute(update(events).where(events.c.id == event_id).values(fetched=body))

    def fetched(self, event_id: str) -> bytes | None:
        """Return a thin event as Stripe's API gave it last; None where none is kept."""
        return next(iter(self._database.values(select(events.c.fetched).where(events.c.id == event_id))), None)

    def of(self, event_ids: Collection[str]) -> dict[str, StoredEvent]:
        """Return those of `event_ids` that the ledger holds."""
        query = select(*_COLUMNS).where(events.c.id.in_(event_ids))
        return {row["id"]: _stored(row) for row in self._database.rows(query)}

    def pages(self, until: datetime | None = None) -> Iterator[Sequence[StoredEvent]]:
        """Yield all events, or those that were received up to `until`, oldest first, so many at a time."""
        place = tuple_(events.c.received_at, events.c.id)
        query = select(*_COLUMNS).order_by(events.c.received_at, events.c.id).limit(PAGE)
        page = query = query if until is None else query.where(events.c.received_at <= until)
        while True:
            found = list(map(_stored, self._database.rows(page)))
            if found:
                yield found
            if len(found) < PAGE:
                return
            last = literal(found[-1].received_at, events.c.received_at.type)
            page = query.where(place > tuple_(last, found[-1].id))

    def claim(self, event_id: str, owner: str, lease: timedelta) -> StoredEvent:
        """Take an event up for `lease`. Raises Conflict when it is ended or somebody else works on it."""
        is_open = events.c.state.in_(OPEN)
        attempts = events.c.attempts + 1
        row = self._leases.take(event_id, owner, lease, is_open, state=EventState.PROCESSING, attempts=attempts)
        return _stored(row)

    def renew(self, event_id: str, owner: str, lease: timedelta) -> None:
        """Extend the lease during long work. Raises Conflict when it was lost."""
        with self._leases.renewed(event_id, owner, lease):
            pass

    def give_back(self, event: StoredEvent, owner: str) -> None:
        """Leave an event to whoever takes it up next, as soon as the ledger answers: its worker is not dead."""
        self._leases.give_back(Lease(event.id, owner, event.deaths))

    def finish(self, event_id: str, owner: str, state: EventState, reason: str | None = None) -> None:
        """End an event. Raises Conflict when the lease was lost."""
        values = {"state": state, "reason": reason, "due_at": None, "lease_owner": None}
        with self._database.write() as connection:
            self._leases.write(connection, event_id, owner, values)
            _count(connection, event_id, EventState.PROCESSING, state)

    def postpone(self, event_id: str, owner: str, until: datetime, reason: str) -> None:
        """Give an event back to be taken up again at `until`. Raises Conflict when the lease was lost."""
        self._leases.end(event_id, owner, {"state": EventState.RECEIVED, "reason": reason, "due_at": until})

    def retry(self, event_id: str) -> bool:
        """Make an event due now, on an operator's word; return False when a worker has it."""
        free = or_(events.c.state != EventState.PROCESSING, is_over(events, "due_at", self._clock()))
        values = {
            "state": EventState.RECEIVED,
            "due_at": self._clock(),
            "lease_owner": None,
            "attempts": 0,
            "deaths": 0,
            "reason": None,
        }
        row = select(events.c.state).where(events.c.id == event_id, free).with_for_update()
        with self._database.write() as connection:
            before = connection.scalar(row)
            if before is None:
                return False
            connection.execute(update(events).where(events.c.id == event_id).values(values))
            _count(connection, event_id, before, EventState.RECEIVED)
        return True

    def forget_bodies(self, before: datetime, limit: int) -> int:
        """Remove the bodies of up to `limit` old events that are ended well and behind no unsettled case."""
        unsettled = (
            select(entries.c.event_id)
            .join(cases, cases.c.id == entries.c.case_id)
            .where(cases.c.state != "settled", entries.c.event_id.is_not(None))
        )
        old = (
            select(events.c.id)
            .where(
                events.c.raw.is_not(None),
                events.c.received_at < before,
                events.c.state.in_([EventState.DONE, EventState.IGNORED]),
                events.c.id.not_in(unsettled),
            )
            .limit(limit)
        )
        with self._database.write() as connection:
            forgotten = connection.execute(
                update(events).where(events.c.id.in_(old)).values(raw=None, fetched=None)
            )
        return forgotten.rowcount

    def due(
        self,
        limit: int,
        *,
        quiet: timedelta = timedelta(0),
        large: bool | None = None,
        lease: timedelta = LONGEST_WAIT,
    ) -> Sequence[tuple[str, int]]:
        """Return (id, attempts) of events that nobody works on: one of each account in turn, its oldest first.

        `quiet` leaves out those that became due less than this ago: their job is probably in the queue. `large`
        chooses between large and small ones. Nobody works on one for longer than `lease`.
        """
        waiting = and_(events.c.state.in_(OPEN), is_over(events, "due_at", self._clock() - quiet, lease))
        turn = func.row_number().over(partition_by=events.c.account, order_by=events.c.due_at)
        query = select(events.c.id, events.c.attempts).where(waiting).order_by(turn, events.c.due_at).limit(limit)
        if large is not None:
            query = query.where(events.c.large.is_(large))
        return [(row["id"], row["attempts"]) for row in self._database.rows(query)]

    def ignored_since(self, reason: str, moment: datetime) -> tuple[datetime, int] | None:
        """Return (when the newest arrived, how many) of events ignored for `reason` after `moment`, or None."""
        query = select(func.max(events.c.received_at), func.count()).where(
            events.c.state == EventState.IGNORED, events.c.reason == reason, events.c.received_at > moment
        )
        with self._database.read() as connection:
            newest, count = connection.execute(query).one()
        return (newest, count) if count else None

    def known(self, event_ids: Sequence[str]) -> set[str]:
        return set(self._database.values(select(events.c.id).where(events.c.id.in_(event_ids))))


def _row(receipt: NewEvent, now: datetime) -> dict[str, Any]:
    return {
        **{name: getattr(receipt, name) for name in _RECEIVED},
        "received_at": now,
        "sha256": sha256(receipt.raw).hexdigest(),
        "state": EventState.IGNORED if receipt.ignored else EventState.RECEIVED,
        "reason": receipt.ignored,
        "due_at": None if receipt.ignored else now,
    }


def _count(connection: Connection, event_id: str, before: str | None, after: str) -> None:
    """Keep how many events of a lane have ended how. Open ones are not counted: no post waits for another's."""
    values = {state: event_counts.c[state] + by for state, by in ((before, -1), (after, 1)) if state in ENDED}
    if values:
        connection.execute(update(event_counts).where(event_counts.c.lane == lane_of(event_id)).values(values))


def recount(connection: Connection) -> None:
    """Count all events that have ended anew."""
    counted = {lane: {"lane": lane, **dict.fromkeys(ENDED, 0)} for lane in range(LANES)}
    for event_id, state in connection.execute(select(events.c.id, events.c.state).where(events.c.state.in_(ENDED))):
        counted[lane_of(event_id)][state] += 1
    connection.execute(delete(event_counts))
    connection.execute(insert(event_counts), list(counted.values()))


def _stored(row: Any) -> StoredEvent:
    columns = {column.name: row[column.name] for column in _COLUMNS}
    return StoredEvent(**{**columns, "state": EventState(row["state"]), "origin": Origin(row["origin"])})
