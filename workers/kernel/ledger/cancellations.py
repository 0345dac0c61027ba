"""How far the taking back of a submission has come: a chunk is intended before Stripe is asked, finished after."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from workers.kernel.clock import Clock
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import cancellations


@dataclass(frozen=True)
class CancelledChunk:
    """One chunk of an undo. `result` is plain JSON, None while it is not known what Stripe said of every record."""

    intended_at: datetime
    result: Any | None


class Cancellations:
    """The cancellations table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def chunks(self, undo_id: str) -> dict[int, CancelledChunk]:
        """Return every chunk of an undo that was ever intended, by its number."""
        query = select(cancellations).where(cancellations.c.undo_id == undo_id)
        with self._database.read() as connection:
            rows = connection.execute(query)
            return {row.number: CancelledChunk(row.intended_at, row.result) for row in rows}

    def intend(self, undo_id: str, submission_id: str, number: int) -> None:
        """Write down that a chunk is about to be taken back."""
        row = {"undo_id": undo_id, "submission_id": submission_id, "number": number, "intended_at": self._clock()}
        with self._database.write() as connection:
            connection.execute(insert(cancellations).values(row))

    def finish(self, undo_id: str, number: int, result: Any) -> None:
        """Write down what Stripe said of each record of a chunk; `result` is plain JSON."""
        here = (cancellations.c.undo_id == undo_id, cancellations.c.number == number)
        with self._database.write() as connection:
            connection.execute(update(cancellations).where(*here).values(result=result, finished_at=self._clock()))
