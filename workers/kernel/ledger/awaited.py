"""What the records of a case wait for: customers to be created, meters to be reactivated.

It is kept so that looking up one row tells an event from the thousands that nobody waits for. It is working state:
what is lost of it, the case's next plan enters anew.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from workers.kernel.clock import Clock
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import awaited, cases


@dataclass(frozen=True)
class Awaited:
    """A name that records of a case wait for.

    `rules` is the digest of the operator's rules that they were decided by. `look_at` is when Stripe is asked next,
    `until` when the first of these records becomes too old to bill.
    """

    name: str
    rules: str
    look_at: datetime
    until: datetime


class CaseAwaited:
    """What one case waits for, written in the case's transaction."""

    def __init__(self, connection: Connection, case_id: str) -> None:
        self._connection = connection
        self._case_id = case_id
        self.changed = False

    def add(self, names: Collection[Awaited]) -> None:
        """Wait for these names from now on, instead of what was known of them before."""
        self.remove([one.name for one in names])
        if names:
            self._connection.execute(insert(awaited), [{"case_id": self._case_id, **asdict(one)} for one in names])

    def remove(self, names: Collection[str]) -> None:
        """Wait for these names no longer."""
        if names:
            mine = delete(awaited).where(awaited.c.case_id == self._case_id, awaited.c.name == bindparam("gone"))
            self._connection.execute(mine, [{"gone": name} for name in names])
            self.changed = True


class AwaitedNames:
    """Reading what cases wait for."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def is_awaited(self, name: str) -> bool:
        """Whether any case waits for it. Raises LedgerUnavailable."""
        return bool(self._database.values(select(awaited.c.case_id).where(awaited.c.name == name).limit(1)))

    def cases(self, name: str, account: str | None, *, livemode: bool) -> Sequence[str]:
        """Return the cases of an account and mode that wait for it."""
        theirs = cases.c.account.is_not_distinct_from(account), cases.c.livemode.is_(livemode)
        query = select(awaited.c.case_id).join(cases).where(awaited.c.name == name, *theirs)
        return self._database.values(query.order_by(awaited.c.case_id))

    def make_due(self, rules: str) -> int:
        """Let the cases be looked at now whose records were decided by other rules; return how many."""
        others = select(awaited.c.case_id).where(awaited.c.rules != rules)
        now = self._clock()
        later = cases.c.id.in_(others), cases.c.due_at > now
        with self._database.write() as connection:
            return connection.execute(update(cases).where(*later).values(due_at=now)).rowcount


def awaited_by(connection: Connection, case_id: str) -> Sequence[Awaited]:
    """Return what a case waits for, by name."""
    columns = [awaited.c[name] for name in Awaited.__dataclass_fields__]
    query = select(*columns).where(awaited.c.case_id == case_id).order_by(awaited.c.name)
    return [Awaited(**row) for row in connection.execute(query).mappings()]
