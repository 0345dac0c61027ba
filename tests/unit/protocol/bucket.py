"""The folder that corrected files are written into, and Stripe's connector that imports them."""

import csv
import io
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.unit.protocol.stripe_truth import StripeTruth
from workers.kernel.errors import Paced
from workers.targets.files import FileTarget

MALFORMED = "The row could not be read."


class MortalFileTarget(FileTarget):
    """A file target whose process may die around each write, or hear nothing of it.

    `turns` is how many submissions may begin before the connector's pace holds up the next; None if it never does.
    """

    turns: int | None = None

    def __init__(self, url: str, stripe: StripeTruth) -> None:
        super().__init__(url, pace_seconds=0, clock=stripe.clock)
        self._stripe = stripe

    def keep_pace(self) -> None:
        """Let as many begin as have their turn."""
        if self.turns == 0:
            raise Paced("it is another's turn", retry_after=10)
        if self.turns is not None:
            self.turns -= 1

    def _put(self, key: str, file: Any) -> None:
        self._stripe.fuse.call()
        super()._put(key, file)
        self._stripe.answer()


@dataclass(frozen=True)
class Verdict:
    """What Stripe makes of one file. `refused` are rows, from 0; `unlisted` of them it counts without naming them.

    `returned`: whether it gives the file back, where it refuses it whole.
    """

    refused: Collection[int] = ()
    unlisted: int = 0
    whole: bool = False
    returned: bool = True


CLEAN = Verdict()


@dataclass
class Bucket:
    """One folder. A file is imported once, unless it was removed and written again."""

    folder: Path
    stripe: StripeTruth
    imported: set[str] = field(default_factory=set)

    def waiting(self) -> list[str]:
        """Return the names of the files that Stripe has not imported yet."""
        return sorted({path.name for path in self.folder.glob("*.csv")} - self.imported)

    def clean(self) -> None:
        """Let somebody remove the files that were imported."""
        for name in self.imported:
            (self.folder / name).unlink()
        self.imported.clear()

    def import_file(self, name: str, verdict: Verdict) -> Iterator[str]:
        """Import one file and yield the events that Stripe publishes of it."""
        self.imported.add(name)
        text = (self.folder / name).read_text()
        subject = {"id": f"impset_{len(self.stripe.events)}", "file_name": name}
        if verdict.whole:
            source = {"file": self.stripe.keep_file(name, text)} if verdict.returned else {}
            yield self.stripe.publish_import(**subject, **source, status="failed", failed_reason=MALFORMED)
            return
        rows = list(csv.DictReader(io.StringIO(text)))
        archived = [row["identifier"] for row in rows if self._is_late(row)]
        if archived:
            meter = self.stripe.meters[1]["id"]
            yield self.stripe.report(meter, {"archived_meter": archived})
        refused = list(self._refused(rows, verdict.refused, archived))
        errors = (
            {"file": self.stripe.keep_file("errors.csv", as_csv(refused[verdict.unlisted :]))} if refused else {}
        )
        status = "succeeded_with_errors" if refused else "succeeded"
        result = {"errors": {**errors, "row_count": len(refused)}} if refused else {}
        yield self.stripe.publish_import(**subject, status=status, result=result)

    def _is_late(self, row: dict[str, str]) -> bool:
        meter = next(m for m in self.stripe.meters if m["event_name"] == row["event_name"])
        return bool(meter["status"] != "active")

    def _refused(
        self, rows: list[dict[str, str]], malformed: Collection[int], archived: list[str]
    ) -> Iterator[dict[str, str]]:
        for number, row in enumerate(rows):
            if number in malformed:
                yield {**row, "error_message": MALFORMED}
            elif row["identifier"] not in archived:
                error = self.stripe.accept(row["identifier"], row["event_name"])
                if error:
                    yield {**row, "error_message": error["message"]}


def as_csv(rows: list[dict[str, str]]) -> str:
    """Return rows as the text of a CSV file; of no rows, a file that is empty."""
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
