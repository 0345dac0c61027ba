"""The company that sends usage: what it sent, what Stripe refused of that, and where that has to be found again."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import polars as pl

from tests.recording import RecordingUsageSources
from tests.unit.protocol.bucket import MALFORMED, as_csv
from tests.unit.protocol.published import case_keys
from tests.unit.protocol.stripe_truth import API_CALLS, OLD_CALLS, StripeTruth
from workers.records.schema import IDENTIFIER, ROW, SOURCE, WRITTEN, dtype_of

HOUR = 3600
NOT_FOUND = "meter_event_customer_not_found"
TOO_EARLY = "timestamp_in_future"
LATEST_REFUSAL = timedelta(days=34)
"""A refusal that comes later than 35 days finds no submission (docs/PROTOCOL.md)."""

Row = dict[str, str]


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a record that a meter refuses: Stripe's code for it, and the record's fields."""

    code: str
    customer: str = "cus_1"
    event_name: str = "api_calls"
    ahead: int = -60
    meter_id: str = API_CALLS


class Refusable(Enum):
    """Usage that a meter refuses: two that have one reading, one that nobody knows, three that may have to wait."""

    LED = Flaw(NOT_FOUND, " cus_1")
    TRAILED = Flaw(NOT_FOUND, "cus_1 ")
    GONE = Flaw(NOT_FOUND, "cus_gone")
    EARLY = Flaw(TOO_EARLY, ahead=2 * HOUR)
    MUCH_TOO_EARLY = Flaw(TOO_EARLY, ahead=30 * HOUR)
    ARCHIVED = Flaw("archived_meter", event_name="old_calls", meter_id=OLD_CALLS)


class Malformed(Enum):
    """Fields of a row that an import refuses: one that has one reading, and one that has two."""

    TIME = ("timestamp", "2026-11-20T10:00:00Z")
    VALUE = ("payload_value", "1,234")


class Company:
    """The sender. `expected` names, for each event, the cases that it has to lead to, and their records."""

    def __init__(self, folder: Path, stripe: StripeTruth) -> None:
        self.folder, self.stripe = folder, stripe
        self.sources = RecordingUsageSources(files={})
        self.expected: dict[str, Mapping[str, Collection[str]]] = {}
        self.undelivered: list[str] = []
        self._hidden: list[tuple[list[Row], str, pl.Expr]] = []
        self._sent = 0

    def refuse_usage(self, kinds: Sequence[Refusable], unnamed: int, *, known: bool = True) -> None:
        """Send records that meters refuse; `known`: whether our sources hold them."""
        for meter_id in (API_CALLS, OLD_CALLS):
            flaws = [kind.value for kind in kinds if kind.value.meter_id == meter_id]
            refused = defaultdict(list)
            rows = [self._row(flaw) for flaw in flaws]
            for flaw, row in zip(flaws, rows, strict=True):
                refused[flaw.code].append(row[IDENTIFIER])
            if rows:
                self._keep(rows, "usage.csv", known=known)
                self._expect(self.stripe.report(meter_id, refused, unnamed), refused)

    def refuse_rows(
        self, fields: Sequence[Malformed], unlisted: int, *, repeated: bool, known: bool = True
    ) -> None:
        """Upload a file of which rows are refused; `repeated`: the failed-records file repeats the rows."""
        rows = [{**self._row(Flaw("")), field.value[0]: field.value[1]} for field in fields]
        name = self._upload(rows, known=known or repeated)
        told = rows if repeated else [{"row": str(number)} for number, _ in enumerate(rows, 1)]
        errors = as_csv([{**row, "error_message": MALFORMED} for row in told])
        result = {"file": self.stripe.keep_file("errors.csv", errors), "row_count": len(rows) + unlisted}
        self._publish_import(rows, name, status="succeeded_with_errors", result={"errors": result})

    def refuse_file(self, count: int, *, returned: bool, known: bool = True) -> None:
        """Upload a file that is refused whole for its header; `returned`: Stripe gives it back."""
        rows = [self._row(Flaw("")) for _ in range(count)]
        titled = [{_title(name): text for name, text in row.items()} for row in rows]
        name = self._upload(titled, known=known or returned)
        source = {"file": self.stripe.keep_file(name, as_csv(titled))} if returned else {}
        self._publish_import(rows, name, status="failed", result={"rows_processed": count}, **source)

    def refuse_again(self, event_id: str) -> None:
        """Let the sender write the same records once more, and Stripe refuse them once more."""
        named = [name for names in self.expected.get(event_id, {}).values() for name in names]
        again = self.sources.records.filter(pl.col(IDENTIFIER).is_in(named)).unique(IDENTIFIER, maintain_order=True)
        if not again.is_empty():
            self.sources.records = pl.concat([self.sources.records, again.with_columns(self._written())])
        self._expect_as(event_id, self.stripe.publish_again(event_id, anew=True))

    def publish_again(self, event_id: str) -> None:
        """Let Stripe publish a second event object about one change."""
        self._expect_as(event_id, self.stripe.publish_again(event_id, anew=False))

    def refuse_ours(
        self, which: Collection[int], unnamed: int, sent_with: Callable[[str], Collection[str]]
    ) -> None:
        """Let Stripe refuse some of what it accepted of us, and name all of it but `unnamed`.

        What it does not name was sent with something that it names: PROTOCOL.md promises no more.
        """
        since = self.stripe.clock() - LATEST_REFUSAL
        billed = [usage for usage in self.stripe.accepted if usage.counts and usage.at > since]
        chosen = [billed[number % len(billed)] for number in which] if billed else []
        for meter_id in sorted({usage.meter_id for usage in chosen}):
            named = [usage for usage in chosen if usage.meter_id == meter_id]
            near = {identifier for usage in named for identifier in sent_with(usage.identifier)}
            others = [usage for usage in billed if usage not in chosen and usage.meter_id == meter_id]
            hidden = [usage for usage in others if usage.identifier in near][:unnamed]
            for usage in (*named, *hidden):
                usage.refused = True
            refused = {NOT_FOUND: sorted({usage.identifier for usage in named})}
            self.undelivered.append(self.stripe.report(meter_id, refused, len(hidden)))

    def reveal(self) -> None:
        """Let the sender name the places that the rest of its usage lies in."""
        for rows, name, written in self._hidden:
            self._keep(rows, name, known=True, written=written)
        self._hidden.clear()

    def _row(self, flaw: Flaw) -> Row:
        self._sent += 1
        return {
            IDENTIFIER: f"u{self._sent}",
            "timestamp": str(int(self.stripe.clock().timestamp()) + flaw.ahead),
            "event_name": flaw.event_name,
            "payload_stripe_customer_id": flaw.customer,
            "payload_value": "1",
        }

    def _upload(self, rows: list[Row], *, known: bool) -> str:
        name = f"usage-{self._sent}.csv"
        (self.folder / name).write_text(as_csv(rows))
        self._keep([], name, known=known)
        return name

    def _written(self) -> pl.Expr:
        return pl.lit(self.stripe.clock(), dtype_of(WRITTEN)).alias(WRITTEN)

    def _keep(self, rows: list[Row], name: str, *, known: bool, written: pl.Expr | None = None) -> None:
        """Keep rows, or a file of that name, where our sources find them, or where they do not find them yet."""
        written = self._written() if written is None else written
        if not known:
            self._hidden.append((rows, name, written))
        elif rows:
            numbered = [{**row, ROW: number, SOURCE: name} for number, row in enumerate(rows, 1)]
            frame = pl.DataFrame(numbered).with_columns(written)
            self.sources.records = pl.concat([self.sources.records, frame], how="diagonal_relaxed")
        else:
            self.sources.files = {**self.sources.files, name: self.folder / name}

    def _publish_import(self, rows: list[Row], name: str, **subject: Any) -> None:
        event_id = self.stripe.publish_import(
            id=f"impset_{len(self.stripe.events)}", file_name=name, failed_reason=MALFORMED, **subject
        )
        self._expect(event_id, {"": [row[IDENTIFIER] for row in rows]})

    def _expect(self, event_id: str, refused: Mapping[str, Collection[str]]) -> None:
        self.expected[event_id] = case_keys(self.stripe.event(event_id), refused)
        self.undelivered.append(event_id)

    def _expect_as(self, event_id: str, other: str) -> None:
        """Expect of another event what the first one tells; a refusal of ours has no case of its own."""
        refused = {key.rpartition(":")[2]: named for key, named in self.expected.get(event_id, {}).items()}
        if refused:
            self._expect(other, refused)
        else:
            self.undelivered.append(other)


def _title(column: str) -> str:
    """Return a column's name as a spreadsheet would show it, such as `Event Name` and `Customer ID`."""
    titles = {"payload_stripe_customer_id": "Customer ID", "payload_value": "Value"}
    return titles.get(column, column.replace("_", " ").title())
