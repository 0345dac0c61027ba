"""The sender: usage with known faults, and what each record means after the one right repair."""

import csv
import io
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from bench.faults.house import House

METERS: Final = ("api_requests", "tokens_used")
CUSTOMERS: Final = [f"cus_{number:04d}" for number in range(200)]
COLUMNS: Final = ("identifier", "timestamp", "event_name", "payload_stripe_customer_id", "payload_value")
HOUR: Final = 3600
DAY: Final = 24 * HOUR
SAFE_SECONDS: Final = 1200
"""Usage lies so far in the past that clocks which are ten minutes off still agree that it is past."""
RENAMED: Final = ("Identifier", "Timestamp", "Event Name", "Customer ID", "Value")


class Meant(NamedTuple):
    """What one record means: what has to be billed for it, once."""

    timestamp: int
    event_name: str
    customer: str
    value: Decimal


Row = dict[str, str]


@dataclass(frozen=True)
class Fault:
    """A way in which a sender spoils a row. `repairable`: exactly one reading of it is possible."""

    spoil: Callable[[Row, Meant], Row]
    repairable: bool


FAULTS: Final = {
    "padded_customer": Fault(lambda row, meant: row | {COLUMNS[3]: f" {meant.customer} "}, repairable=True),
    "milliseconds": Fault(lambda row, meant: row | {COLUMNS[1]: f"{meant.timestamp}000"}, repairable=True),
    "event_name_case": Fault(
        lambda row, meant: row | {COLUMNS[2]: meant.event_name.replace("_", "-").upper()}, repairable=True
    ),
    "padded_value": Fault(lambda row, meant: row | {COLUMNS[4]: f" +{meant.value} "}, repairable=True),
    "date_as_text": Fault(
        lambda row, meant: row | {COLUMNS[1]: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(meant.timestamp))},
        repairable=True,
    ),
    "ambiguous_value": Fault(lambda row, _: row | {COLUMNS[4]: "1,234"}, repairable=False),
    "unknown_customer": Fault(lambda row, _: row | {COLUMNS[3]: "cus_nobody_knows"}, repairable=False),
    "no_event_name": Fault(lambda row, _: row | {COLUMNS[2]: ""}, repairable=False),
}
"""Data and format faults; every one but the last three can be read in one way only."""
EARLY: Final = "early"
"""A row that is right and comes a little too early: Stripe takes it `EARLY_SECONDS` later."""
EARLY_SECONDS: Final = 40
_STRIPE_TAKES: Final = 300
"""Seconds that usage may lie in the future."""


@dataclass
class Sender:
    """Makes records and uploads them, a copy of his own first, as a careful sender does."""

    house: House
    dice: random.Random
    meant: dict[str, Meant] = field(default_factory=dict)
    hopeless: set[str] = field(default_factory=set)
    files: int = 0

    def set_up(self) -> None:
        """Create meters and customers at the twin."""
        for name in METERS:
            self.house.control("meters", {"event_name": name})
        self.house.control("customers", {"customers": list(CUSTOMERS)})

    def upload(self, records: int, *, faulty: Sequence[str] = (), renamed_header: bool = False) -> None:
        """Upload one file of `records` rows, of which the first ones have the named faults."""
        self.files += 1
        name = f"usage-{self.files:05d}.csv"
        rows = list(self._rows(records, faulty))
        self.dice.shuffle(rows)
        self.house.upload(name, _as_csv(rows, RENAMED if renamed_header else COLUMNS))

    def some_faults(self, count: int, *, hopeless: float = 0.1) -> list[str]:
        """Return `count` names of faults, of which a share cannot be repaired."""
        names = {
            repairable: [n for n, f in FAULTS.items() if f.repairable is repairable] for repairable in (True, False)
        }
        return [self.dice.choice(names[self.dice.random() >= hopeless]) for _ in range(count)]

    def _rows(self, records: int, faulty: Sequence[str]) -> Iterator[Row]:
        now = int(time.time())
        for number in range(records):
            identifier = f"use-{len(self.meant):07d}"
            ago = self.dice.randint(SAFE_SECONDS, 20 * DAY)
            is_early = faulty[number : number + 1] == [EARLY]
            meant = Meant(
                now + _STRIPE_TAKES + EARLY_SECONDS if is_early else now - ago,
                self.dice.choice(METERS),
                self.dice.choice(CUSTOMERS),
                Decimal(self.dice.randint(1, 99_999)) / 100,
            )
            self.meant[identifier] = meant
            row = dict(zip(COLUMNS, (identifier, *map(str, meant)), strict=True))
            if number < len(faulty) and not is_early:
                fault = FAULTS[faulty[number]]
                row = fault.spoil(row, meant)
                if not fault.repairable:
                    self.hopeless.add(identifier)
            yield row


def _as_csv(rows: Sequence[Row], header: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([row[name] for name in COLUMNS] for row in rows)
    return text.getvalue()
