"""The ledger as one object: the only way to events, cases and submissions."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from workers.kernel.clock import Clock, utc_now
from workers.kernel.ledger import events, totals
from workers.kernel.ledger.acts import Acts
from workers.kernel.ledger.alert_channels import AlertChannels
from workers.kernel.ledger.appraisals import Appraisals
from workers.kernel.ledger.awaited import AwaitedNames
from workers.kernel.ledger.case_list import CaseList
from workers.kernel.ledger.cases import Cases
from workers.kernel.ledger.chunks import Chunks
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.days import Days
from workers.kernel.ledger.erasures import Erasures
from workers.kernel.ledger.event_list import EventList
from workers.kernel.ledger.events import Events
from workers.kernel.ledger.examples import CaseExamples
from workers.kernel.ledger.fault_kinds import FaultKinds
from workers.kernel.ledger.heartbeats import Heartbeats
from workers.kernel.ledger.incidents import Incidents
from workers.kernel.ledger.links import Links
from workers.kernel.ledger.money_totals import MoneyTotals
from workers.kernel.ledger.queries import Queries
from workers.kernel.ledger.reminders import Reminders
from workers.kernel.ledger.rules import MadeRules
from workers.kernel.ledger.sessions import Sessions
from workers.kernel.ledger.shared_files import SharedFiles
from workers.kernel.ledger.standings import Standings
from workers.kernel.ledger.submissions import Submissions
from workers.kernel.ledger.tables import checkpoints
from workers.kernel.ledger.totals import CaseTotals
from workers.kernel.ledger.troubles import Troubles
from workers.kernel.ledger.users import Users

BODIES_REMOVED: Final = "retention:bodies"
"""Checkpoint: bodies of events that were received before this time may be gone."""

REWRITE_DUE: Final = "erasure:rewrite"
"""Checkpoint: a customer was erased, and the database's file may still hold what was there before."""


class Checkpoints:
    """The checkpoints table: where periodic work stopped and what was decided once, one JSON value a name."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def get(self, name: str) -> Any:
        """Return what was last saved under `name`, or None."""
        query = select(checkpoints.c.value).where(checkpoints.c.name == name)
        return next(iter(self._database.values(query)), None)

    def decide(self, name: str, decision: Callable[[Any], Any]) -> Any:
        """Save what is decided of what stands under `name`, None for nothing, and return it; one after another."""
        with suppress(IntegrityError):  # another has just written the first value: it is decided of that
            return self._decided(name, decision)
        return self._decided(name, decision)

    def _decided(self, name: str, decision: Callable[[Any], Any]) -> Any:
        named = checkpoints.c.name == name
        with self._database.write() as connection:
            query = select(checkpoints.c.value).where(named).with_for_update()
            found = connection.execute(query).one_or_none()
            there = found.value if found else None
            decided = decision(there)
            row = {"value": decided, "changed_at": self._clock()}
            if found is None:
                connection.execute(insert(checkpoints).values(name=name, **row))
            elif decided != there:
                connection.execute(update(checkpoints).where(named).values(row))
        return decided

    def save(self, name: str, value: Any) -> None:
        """Save plain JSON under `name`."""
        row = {"value": value, "changed_at": self._clock()}
        with self._database.write() as connection:
            changed = connection.execute(update(checkpoints).where(checkpoints.c.name == name).values(row))
            if changed.rowcount == 0:
                connection.execute(insert(checkpoints).values(name=name, **row))


class Ledger:
    """All of the ledger on one database. Build one in each process, after any fork."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self.database = database
        self.events = Events(database, clock)
        self.event_list = EventList(database)
        self.cases = Cases(database, clock)
        self.case_list = CaseList(database)
        self.examples = CaseExamples(database)
        self.standings = Standings(database)
        self.days = Days(database, clock)
        self.awaited = AwaitedNames(database, clock)
        self.submissions = Submissions(database)
        self.chunks = Chunks(database, clock)
        self.shared_files = SharedFiles(database, clock)
        self.checkpoints = Checkpoints(database, clock)
        self.links = Links(database)
        self.totals = CaseTotals(database)
        self.queries = Queries(database, clock)
        self.sessions = Sessions(database, clock)
        self.fault_kinds = FaultKinds(database, clock)
        self.heartbeats = Heartbeats(database, clock)
        self.incidents = Incidents(database, clock)
        self.troubles = Troubles(database, clock)
        self.reminders = Reminders(database, clock)
        self.acts = Acts(database, clock)
        self.users = Users(database, clock)
        self.appraisals = Appraisals(database, clock)
        self.money = MoneyTotals(database, clock)
        self.rules = MadeRules(database, clock)
        self.erasures = Erasures(database)
        self.alert_channels = AlertChannels(database, clock)

    def recount(self) -> None:
        """Add up all cases anew, and count all events. Raises LedgerUnavailable."""
        with self.database.write() as connection:
            recount(connection)

    def close(self) -> None:
        self.database.close()


def recount(connection: Connection) -> None:
    """Count anew what is kept beside events and cases, while nobody writes any."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer
        connection.execute(text("LOCK TABLE events, cases IN SHARE ROW EXCLUSIVE MODE"))
    totals.recount(connection)
    events.recount(connection)


def connect(url: str, clock: Clock = utc_now) -> Ledger:
    """Return the ledger at a database address; nothing is opened before it is first used.

    Raises SettingsUnusable when the address is none.
    """
    return Ledger(Database(url), clock)
