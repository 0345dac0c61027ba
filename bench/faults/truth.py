"""The verdict: what the sender meant, what the twin bills, and what the ledger says it still holds."""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final

from bench.faults.house import House
from bench.faults.usage import Meant, Sender
from workers.bootstrap import build
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.journal import IN_FLIGHT, Bucket
from workers.kernel.ledger.only_counted import unlocated
from workers.kernel.settings import load
from workers.pipeline.record_sets import ORIGIN, records_in

REVISION: Final = re.compile(r"(~r[0-9]+)+$")
"""What metermend appends to the identifier of a record that it sends again."""
HELD: Final = (Bucket.QUARANTINED, Bucket.DEFERRED, Bucket.CORRECTED, Bucket.WRITTEN_OFF)
STILL: Final = 0.5
"""Seconds without any motion after which a run is at rest."""
ALL: Final = 1_000_000
"""More cases than any run has."""


@dataclass(frozen=True)
class Verdict:
    """What came of a run. Goal: `lost`, `twice`, `wrong` and `stuck` are 0, and `proved` is true.

    `lost`: meant, not billed, and not in the ledger. `twice`: billed more than once. `wrong`: billed with another
    customer, meter, time or quantity than was meant, or a total that differs from the sum of its records. `stuck`:
    events and cases that will not move by themselves though nobody was asked. `with_person`: records that the
    ledger holds for a person or a later time. `drain_seconds`: from the end of the faults until all was at rest.
    """

    records: int
    events: int
    billed: int
    with_person: int
    lost: int
    twice: int
    wrong: int
    stuck: int
    failed_events: int
    proved: bool
    restarts: int
    drain_seconds: float

    @property
    def clean(self) -> bool:
        """Whether the goal is met."""
        return self.proved and not (self.lost or self.twice or self.wrong or self.stuck)

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as plain JSON."""
        return {**asdict(self), "clean": self.clean}


def drain(house: House, patience: float) -> float:
    """Wait until nothing moves any more, at most `patience` seconds; return how long it took."""
    begun = time.monotonic()
    still_since: float | None = None
    while time.monotonic() - begun < patience:
        if not _at_rest(house):
            still_since = None
        elif still_since is None:
            still_since = time.monotonic()
        elif time.monotonic() - still_since > STILL:
            break
        time.sleep(0.2)
    return time.monotonic() - begun


def judge(house: House, sender: Sender, *, drained_in: float, may_fail: int = 0) -> Verdict:
    """Compare the books of the sender, the twin and the ledger. `may_fail` events are meant to end as failed."""
    billed = list(_billed(house))
    counts = Counter(origin for origin, _ in billed)
    held, only_counted = _held(house)
    missing = sender.meant.keys() - counts.keys() - held
    failed = house.ledger.queries.event_counts().get(EventState.FAILED, 0)
    return Verdict(
        records=len(sender.meant),
        events=sum(house.ledger.queries.event_counts().values()),
        billed=len(counts),
        with_person=len(held - counts.keys()) + min(len(missing), only_counted),
        lost=max(0, len(missing) - only_counted),
        twice=sum(count - 1 for count in counts.values() if count > 1),
        wrong=_wrong(sender, billed) + _wrong_totals(house, sender, counts),
        stuck=_open_events(house) + _stuck_cases(house) + max(0, failed - may_fail),
        failed_events=failed,
        proved=house.metermend("prove").returncode == 0,
        restarts=house.supervisor.restarts(),
        drain_seconds=round(drained_in, 1),
    )


def _billed(house: House) -> Iterator[tuple[str, Meant]]:
    """Yield each record that the twin bills, under the identifier that its sender gave it."""
    meters = {line["meter"]: line["event_name"] for line in house.billed()}
    for usage in house.accepted():
        what = Meant(usage["timestamp"], meters[usage["meter"]], usage["customer"], Decimal(usage["value"]))
        yield REVISION.sub("", usage["identifier"]), what


def _wrong(sender: Sender, billed: list[tuple[str, Meant]]) -> int:
    """Count records that are billed otherwise than they were meant, guesses at hopeless ones among them."""
    return sum(sender.meant.get(origin) != what or origin in sender.hopeless for origin, what in billed)


def _wrong_totals(house: House, sender: Sender, counts: Counter[str]) -> int:
    """Count the customers and meters whose bill is not the sum of what was meant by the records that arrived."""
    expected: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for origin in counts.keys() & sender.meant.keys():
        meant = sender.meant[origin]
        expected[meant.event_name, meant.customer] += meant.value
    bills = {(line["event_name"], line["customer"]): Decimal(line["total"]) for line in house.billed()}
    repeated = any(count > 1 for count in counts.values())
    return 0 if repeated else sum(bills.get(key) != expected.get(key) for key in bills.keys() | expected.keys())


def _held(house: House) -> tuple[set[str], int]:
    """Return the records that the ledger holds, and how many it only counts since nobody has shown them."""
    settings = load({name.lower(): value for name, value in house.environment.items() if name.isupper()})
    context = build(settings)
    held: set[str] = set()
    only_counted = 0
    for case in house.ledger.queries.cases(limit=ALL):
        only_counted += unlocated(house.ledger.queries.entries(case.id)).total()
        for bucket in (bucket for bucket in (*HELD, *IN_FLIGHT) if case.balance[bucket].records):
            records = records_in(context, context.ledger.queries.entries(case.id), bucket)
            if records is not None:
                held.update(REVISION.sub("", origin) for origin in records.select(ORIGIN).collect()[ORIGIN])
    return held, only_counted


def _at_rest(house: House) -> bool:
    twin = house.state()
    deliveries = twin["deliveries"]
    account = twin["accounts"].get("", {})
    finished = sum(count for status, count in account.get("import_sets", {}).items() if status != "pending")
    imported = finished >= house.uploaded()
    quiet = not (twin["waiting_to_publish"] or deliveries["queued"] or deliveries["busy"])
    return imported and quiet and not _open_events(house) and _moving_cases(house) == 0


def _open_events(house: House) -> int:
    counts = house.ledger.queries.event_counts()
    return counts.get(EventState.RECEIVED, 0) + counts.get(EventState.PROCESSING, 0)


def _cases_in_flight(house: House) -> int:
    counts = house.ledger.queries.case_counts()
    return sum(counts.get(state, 0) for state in (CaseState.OPEN, CaseState.PLANNED, CaseState.AWAITING))


def _given_up(house: House) -> int:
    """Count the cases that work has given up on; a person is told, but in these runs none should be needed."""
    return len(house.ledger.queries.stuck_cases(ALL))


def _moving_cases(house: House) -> int:
    return max(0, _cases_in_flight(house) - _given_up(house))


def _stuck_cases(house: House) -> int:
    return max(_cases_in_flight(house), _given_up(house))
