"""Cases whose corrections wait for their turn in one folder."""

import csv
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl

from tests.books import Book, a_context, some_usage
from tests.conftest import FrozenClock
from tests.recording import RecordingStripeApi
from tests.turns import Turns
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.ledger.submissions import Submission
from workers.pipeline.context import Context
from workers.pipeline.record_sets import DATA, numbered
from workers.pipeline.run import carry_on
from workers.records.schema import IDENTIFIER, REASON


@dataclass
class Queue:
    """A folder, and the cases that have something for it."""

    ledger: Ledger
    folder: Path
    clock: FrozenClock
    stripe: RecordingStripeApi = field(default_factory=RecordingStripeApi)

    def __post_init__(self) -> None:
        self.bucket = self.folder / "bucket"
        self.bucket.mkdir()
        self.target = Turns(f"file://{self.bucket}", clock=self.clock)
        parts = {"stripe": self.stripe, "target": self.target}
        self._context = a_context(self.ledger, self.folder, self.clock, **parts)

    @property
    def context(self) -> Context:
        """A context of another owner for each piece of work."""
        return replace(self._context, owner=uuid4().hex)

    def waiting(self, name: str, records: int = 2, **failure: Any) -> Book:
        """Let a case wait with records that are called after it."""
        book = Book(self.context, 0, **{"key": f"import_set:{name}", "import_set_id": name, **failure})
        frame = numbered(some_usage(records), first=0, refused_as=DATA)
        book.frame = frame.with_columns(
            pl.format(f"{name}-{{}}", IDENTIFIER).alias(IDENTIFIER), pl.lit(None, pl.String).alias(REASON)
        )
        book.move(EntryKind.SEEN, range(records))
        book.intend(range(records), target="files")
        return book

    def work(self, *books: Book) -> None:
        """Let a worker take up these cases, one after the other."""
        for book in books:
            carry_on(self.context, book.case_id)

    def submission(self, book: Book) -> Submission:
        """Return the case's only submission."""
        [submission] = self.ledger.submissions.of_case(book.case_id)
        return submission

    def files(self) -> dict[str, list[str]]:
        """Return the identifiers in each file of the folder."""
        found = {}
        for path in sorted(self.bucket.glob("*.csv")):
            with path.open() as file:
                found[path.name] = [row["identifier"] for row in csv.DictReader(file)]
        return found
