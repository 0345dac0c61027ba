"""What the console, the command line and the metrics read: typed rows, nothing that can be written back."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, cast, func, or_, select, text, true

from workers.kernel.clock import Clock
from workers.kernel.ledger.case import Case, CaseState, case_of
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.events import ENDED, OPEN, EventState, Origin
from workers.kernel.ledger.journal import WAITING, Balance, Bucket, EntryKind, RecordSetRef
from workers.kernel.ledger.tables import (
    cases,
    checkpoints,
    entries,
    event_counts,
    events,
    incident_cases,
    submissions,
)
from workers.kernel.ledger.totals import CaseTotals


@dataclass(frozen=True)
class EntryRow:
    """One line of a case's journal, for showing."""

    number: int
    kind: str
    from_bucket: str | None
    to_bucket: str | None
    records: int
    quantity: str
    revision: int
    record_set: str | None
    record_set_sha256: str | None
    submission_id: str | None
    event_id: str | None
    actor: str
    detail: Mapping[str, Any]
    at: datetime

    @property
    def ref(self) -> RecordSetRef | None:
        if self.record_set is None or self.record_set_sha256 is None:
            return None
        return RecordSetRef(self.record_set, self.record_set_sha256)


def as_stored(detail: Mapping[str, Any]) -> Any:
    """Return an entry's detail as it is read back."""
    return json.loads(json.dumps(detail))


def entry_of(row: Mapping[str, Any]) -> EntryRow:
    """Build an EntryRow from a row of the entries table."""
    columns = {name: row[name] for name in EntryRow.__dataclass_fields__}
    return EntryRow(**{**columns, "quantity": format(row["quantity"], "f")})


def journal_of(connection: Connection, case_id: str) -> list[EntryRow]:
    """Return a case's entries, the oldest first."""
    columns = [entries.c[name] for name in EntryRow.__dataclass_fields__]
    query = select(*columns).where(entries.c.case_id == case_id).order_by(entries.c.number)
    return [entry_of(dict(row)) for row in connection.execute(query).mappings()]


class Queries:
    """Read-only views of the ledger."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._totals = CaseTotals(database)

    def version(self) -> str:
        backend = self._database.engine.dialect.name
        query = "select sqlite_version()" if backend == "sqlite" else "show server_version"
        with self._database.read() as connection:
            return f"{backend} {connection.scalar(text(query))}"

    def cases(
        self,
        *,
        states: Sequence[CaseState] = (),
        limit: int = 100,
        before: datetime | None = None,
        incident: str | None = None,
    ) -> Sequence[Case]:
        """Return cases, the most recently changed first, of `states` and of an incident if any are named."""
        of_states = cases.c.state.in_(list(states)) if states else true()
        earlier = cases.c.changed_at < before if before else true()
        theirs = select(incident_cases.c.case_id).where(incident_cases.c.incident_id == incident)
        return self._newest(limit, of_states, earlier, cases.c.id.in_(theirs) if incident else true())

    def waiting_cases(self) -> Sequence[Case]:
        """Return cases of which records wait, quarantined or deferred, the oldest first."""
        waits = (cases.c.balance[(bucket.value, "records")].as_string() != "0" for bucket in WAITING)
        query = select(cases).where(or_(*waits)).order_by(cases.c.opened_at, cases.c.id)
        return list(map(case_of, self._database.rows(query)))

    def planned_cases(self, account: str | None, *, livemode: bool, limit: int) -> Sequence[str]:
        """Return the ids of an account's cases whose records wait to be sent, the most urgent first.

        One that work has given up on is left to a person.
        """
        theirs = cases.c.account.is_(None) if account is None else cases.c.account == account
        planned = (
            cases.c.state == CaseState.PLANNED,
            cases.c.livemode == livemode,
            cases.c.due_at.is_not(None),
            theirs,
        )
        order = func.coalesce(cases.c.urgent_at, cases.c.opened_at)
        query = select(cases.c.id).where(*planned).order_by(order, cases.c.id).limit(limit)
        return list(self._database.values(query))

    def planned_records(self, account: str | None) -> tuple[int, int]:
        """Return of how many of an account's cases records wait to be sent, and how many records."""
        theirs = cases.c.account.is_(None) if account is None else cases.c.account == account
        records = cast(cases.c.balance[(Bucket.PLANNED.value, "records")].as_string(), BigInteger)
        query = select(func.count(), func.coalesce(func.sum(records), 0))
        with self._database.read() as connection:
            found, planned = connection.execute(query.where(cases.c.state == CaseState.PLANNED, theirs)).one()
        return int(found), int(planned)

    def stuck_cases(self, limit: int = 100) -> Sequence[Case]:
        """Return cases that work has given up on, the most recently changed first: only a person moves them."""
        return self._newest(limit, cases.c.trouble.is_not(None), cases.c.due_at.is_(None))

    def _newest(self, limit: int, *chosen: ColumnElement[bool]) -> Sequence[Case]:
        query = select(cases).where(*chosen).order_by(cases.c.changed_at.desc()).limit(limit)
        return list(map(case_of, self._database.rows(query)))

    def entries(self, case_id: str) -> Sequence[EntryRow]:
        """Return a case's entries, the oldest first."""
        with self._database.read() as connection:
            return journal_of(connection, case_id)

    def chained_entries(self, case_id: str) -> Sequence[Mapping[str, Any]]:
        """Return a case's whole entry rows in order, for `hash_chain.first_break`."""
        query = select(entries).where(entries.c.case_id == case_id).order_by(entries.c.number)
        return list(map(dict, self._database.rows(query)))

    def case_ids(self) -> Sequence[str]:
        """Return every case's id, oldest first."""
        return self._database.values(select(cases.c.id).order_by(cases.c.opened_at, cases.c.id))

    def heads(self) -> Mapping[str, tuple[int, str]]:
        """Return (version, head) of every case that has entries."""
        query = select(cases.c.id, cases.c.version, cases.c.head).where(cases.c.version > 0).order_by(cases.c.id)
        return {row["id"]: (row["version"], row["head"]) for row in self._database.rows(query)}

    def settled_since(self, moment: datetime) -> Sequence[str]:
        """Return the cases that have been settled since before `moment` and still have their record sets."""
        removed = select(entries.c.case_id).where(entries.c.kind == EntryKind.REMOVED)
        query = select(cases.c.id).where(
            cases.c.state == CaseState.SETTLED, cases.c.changed_at < moment, cases.c.id.not_in(removed)
        )
        return self._database.values(query.order_by(cases.c.changed_at))

    def changed_since(self, moment: datetime, account: str | None) -> Sequence[Case]:
        """Return an account's cases that have changed since `moment`, the oldest first."""
        query = select(cases).where(cases.c.changed_at >= moment, cases.c.account.is_not_distinct_from(account))
        return list(map(case_of, self._database.rows(query.order_by(cases.c.opened_at, cases.c.id))))

    def journals_since(self, moment: datetime, account: str | None) -> Iterator[tuple[Case, Sequence[EntryRow]]]:
        """Yield the cases of `changed_since` with their journals, but for those that retention has emptied.

        Those have been settled for longer than Stripe takes usage.
        """
        for case in self.changed_since(moment, account):
            journal = self.entries(case.id)
            if not any(entry.kind == EntryKind.REMOVED for entry in journal):
                yield case, journal

    def sets_since(self, moment: datetime, account: str | None, kinds: Collection[str]) -> Sequence[RecordSetRef]:
        """Return the record sets of entries of these kinds in the journals of `journals_since`, each once."""
        removed = select(entries.c.case_id).where(entries.c.kind == EntryKind.REMOVED)
        query = (
            select(entries.c.record_set, entries.c.record_set_sha256)
            .distinct()
            .join(cases, cases.c.id == entries.c.case_id)
            .where(
                cases.c.changed_at >= moment,
                cases.c.account.is_not_distinct_from(account),
                cases.c.id.not_in(removed),
                entries.c.kind.in_(list(kinds)),
                entries.c.record_set.is_not(None),
            )
        )
        return [RecordSetRef(*row.values()) for row in self._database.rows(query)]

    def sets_of_kind(
        self, moment: datetime, account: str | None, kind: str, kinds: Collection[str], *, of_import_sets: bool
    ) -> Sequence[tuple[str, RecordSetRef]]:
        """Return the record sets of entries of `kinds` in cases of a kind that were opened since, each by its case.

        Without `of_import_sets`, only of cases that nobody knows an import set of. What retention has emptied is
        left out.
        """
        removed = select(entries.c.case_id).where(entries.c.kind == EntryKind.REMOVED)
        query = (
            select(cases.c.id, entries.c.record_set, entries.c.record_set_sha256)
            .join(entries, entries.c.case_id == cases.c.id)
            .where(
                cases.c.opened_at >= moment,
                cases.c.account.is_not_distinct_from(account),
                cases.c.kind == kind,
                cases.c.id.not_in(removed),
                entries.c.kind.in_(list(kinds)),
                entries.c.record_set.is_not(None),
                true() if of_import_sets else cases.c.import_set_id.is_(None),
            )
        )
        rows = self._database.rows(query.order_by(cases.c.opened_at, entries.c.number))
        return [(row["id"], RecordSetRef(row["record_set"], row["record_set_sha256"])) for row in rows]

    def accounts(self) -> Sequence[str]:
        """Return the connected accounts that any event was about."""
        query = select(events.c.account).where(events.c.account.is_not(None)).distinct()
        return sorted(self._database.values(query))

    def earliest_event(self, account: str | None) -> datetime | None:
        """Return when the first event of an account arrived; None when none has."""
        query = select(func.min(events.c.received_at)).where(events.c.account.is_not_distinct_from(account))
        earliest: Sequence[datetime | None] = self._database.values(query)
        return earliest[0]

    def newest_livemode(self) -> bool | None:
        """Return the mode of the event that arrived last; None where none has."""
        stripes = select(events.c.livemode).where(events.c.origin != Origin.GIVEN)
        newest = stripes.order_by(events.c.received_at.desc()).limit(1)
        return next(iter(self._database.values(newest)), None)

    def newest_moment(self) -> datetime | None:
        """Return when anything was last written down; None in a ledger that is empty."""
        written = (events.c.received_at, cases.c.changed_at, submissions.c.intended_at, checkpoints.c.changed_at)
        with self._database.read() as connection:
            moments = [connection.scalar(select(func.max(column))) for column in written]
        return max(filter(None, moments), default=None)

    def balance(self) -> Balance:
        """Return the balance over all cases."""
        return self._totals.of_all().balance

    def case_counts(self) -> Mapping[str, int]:
        """Return how many cases that have entries are in each state."""
        return self._totals.of_all().states

    def event_counts(self) -> Mapping[str, int]:
        """Return how many events are in each state."""
        ended = (func.coalesce(func.sum(event_counts.c[state]), 0).label(state) for state in ENDED)
        still_open = (
            select(func.count()).where(events.c.state == state).scalar_subquery().label(state) for state in OPEN
        )
        [row] = self._database.rows(select(*ended, *still_open))
        return {state.value: int(row[state]) for state in EventState if row[state]}

    def oldest_unprocessed(self) -> timedelta:
        """Return how long the longest-waiting event has waited; zero when none waits."""
        query = select(func.min(events.c.received_at)).where(events.c.state.in_(OPEN))
        [oldest] = self._database.values(query)
        return max(self._clock() - oldest, timedelta(0)) if oldest else timedelta(0)
