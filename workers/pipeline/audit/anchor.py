"""An anchor: what the ledger held at a moment, small enough to keep elsewhere.

Whoever can write to the database can compute every hash anew. What he changed is found by comparing the ledger with
an anchor that he could not reach; what was written after it does not matter.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import chain, groupby
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from workers.kernel.errors import Corrupt, InputUnusable
from workers.kernel.ledger import Ledger
from workers.pipeline.audit.record_trail import UNREADABLE, unreadable

SETTLING: Final = timedelta(minutes=1)
"""An event that was received less than this before an anchor may still be on its way into the ledger."""


class Head(BaseModel):
    """The last entry of a case, or the last link of a lane, and its hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    hash: str


class Day(BaseModel):
    """The events that were received on one day: how many, and the sha256 over their digests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    sha256: str


class Anchor(BaseModel):
    """What the ledger held at `at`: lanes by number, cases by id, and by day the events up to `events_until`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: AwareDatetime
    lanes: dict[int, Head]
    cases: dict[str, Head]
    events_until: AwareDatetime
    events: dict[str, Day]


def take(ledger: Ledger, now: datetime) -> Anchor:
    """Return an anchor of the ledger as it is. Raises Corrupt where that cannot be read."""
    until = now - SETTLING
    lanes, cases = ledger.links.heads(), ledger.queries.heads()
    try:
        return Anchor(
            at=now,
            lanes={lane: Head(number=number, hash=hash_) for lane, (number, hash_) in lanes.items()},
            cases={case_id: Head(number=number, hash=hash_) for case_id, (number, hash_) in cases.items()},
            events_until=until,
            events=_days(ledger, until),
        )
    except UNREADABLE as error:
        raise Corrupt(unreadable(error)) from None


def read(path: Path) -> Anchor:
    """Return the anchor that a file holds. Raises InputUnusable when it holds none."""
    try:
        return Anchor.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        what = "is no anchor" if isinstance(error, ValidationError) else f"cannot be read: {error.strerror}"
        raise InputUnusable(what, where=str(path), mend="`metermend prove --anchor` makes one") from None


def changed_lanes(ledger: Ledger, anchor: Anchor) -> Iterator[str]:
    """Yield which lanes no longer lead to where the anchor saw them."""
    for lane, head in sorted(anchor.lanes.items()):
        found = ledger.links.hash_at(lane, head.number)
        if found != head.hash:
            what = "is missing" if found is None else "was altered, or what was written before it"
            yield f"link {head.number} of lane {lane} {what} since {anchor.at:%Y-%m-%d %H:%M}"


def changed_events(ledger: Ledger, anchor: Anchor) -> Iterator[str]:
    """Yield on which days not the same events were received as the anchor saw."""
    days, none = _days(ledger, anchor.events_until), Day(count=0, sha256="")
    for day in sorted(days.keys() | anchor.events.keys()):
        now, then = days.get(day, none), anchor.events.get(day, none)
        if now != then:
            counts = f"{now.count} events instead of {then.count}" if now.count != then.count else "altered events"
            yield f"{counts} were received on {day}, by what was known at {anchor.at:%Y-%m-%d %H:%M}"


def _days(ledger: Ledger, until: datetime) -> dict[str, Day]:
    days: dict[str, Day] = {}
    received = chain.from_iterable(ledger.events.pages(until))
    for day, events in groupby(received, key=lambda event: event.received_at.date().isoformat()):
        count, digest = 0, sha256()
        for count, event in enumerate(events, start=1):  # noqa: B007 (counted while it passes by)
            digest.update(bytes.fromhex(event.digest))
        days[day] = Day(count=count, sha256=digest.hexdigest())
    return days
