"""Which kinds of faults Stripe has been seen to refuse: what we believe of Stripe's rules holds for those alone."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite

from workers.kernel.clock import Clock
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import fault_kinds

_OWN: Final = ""


@dataclass(frozen=True)
class FaultKind:
    """A kind of fault of one account (None: our own): the event that showed it, and why it was struck off."""

    account: str | None
    kind: str
    event_id: str
    seen_at: datetime
    struck: str | None


class FaultKinds:
    """The fault_kinds table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._noted: set[tuple[str | None, str]] = set()

    def all(self) -> Sequence[FaultKind]:
        """Return every kind, by account and name."""
        rows = self._database.rows(select(fault_kinds).order_by(fault_kinds.c.account, fault_kinds.c.kind))
        return [FaultKind(**{**row, "account": row["account"] or None}) for row in rows]

    def trusted(self, account: str | None) -> frozenset[str]:
        """Return the kinds that Stripe has refused and was never seen to accept."""
        of_account = fault_kinds.c.account == (account or _OWN), fault_kinds.c.struck.is_(None)
        return frozenset(self._database.values(select(fault_kinds.c.kind).where(*of_account)))

    def note(self, account: str | None, kinds: Collection[str], event_id: str) -> None:
        """Keep kinds that were seen refused, each with the first event that shows it."""
        new = [kind for kind in kinds if (account, kind) not in self._noted]
        rows = [
            {"account": account or _OWN, "kind": kind, "event_id": event_id, "seen_at": self._clock()}
            for kind in new
        ]
        if rows:
            with self._database.write() as connection:
                dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
                connection.execute(dialect.insert(fault_kinds).on_conflict_do_nothing(), rows)
            self._noted.update((account, kind) for kind in new)

    def strike(self, account: str | None, kinds: Collection[str], why: str) -> None:
        """Strike off kinds that Stripe was seen to accept; what is struck off stays so."""
        struck = update(fault_kinds).where(
            fault_kinds.c.account == (account or _OWN), fault_kinds.c.kind.in_(kinds)
        )
        with self._database.write() as connection:
            connection.execute(struck.where(fault_kinds.c.struck.is_(None)).values(struck=why))
