"""What no case shows by itself: that one is missing, or its end, or an event that led to no entry."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import asdict
from hashlib import sha256

from workers.kernel.clock import from_text
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.events import LEFT, StoredEvent
from workers.kernel.ledger.ledger import BODIES_REMOVED
from workers.kernel.ledger.links import LANES, genesis, link_hash
from workers.pipeline.audit.anchor import Anchor, changed_events, changed_lanes
from workers.pipeline.audit.record_trail import UNREADABLE, Breach, unreadable

Found = tuple[str | None, Breach]
"""The case that something is wrong with, if it is a case, and what that is."""


def breaches_of_the_whole(ledger: Ledger, against: Anchor | None, named: Set[str]) -> Iterator[Found]:
    """Yield what does not hold; of the cases in `named`, of which a breach is known, nothing more."""
    try:
        yield from _found(ledger, against, named)
    except UNREADABLE as error:
        yield None, Breach(None, unreadable(error))


def _found(ledger: Ledger, against: Anchor | None, named: Set[str]) -> Iterator[Found]:
    broken = set(named)
    for case_id, breach in _broken_cases(ledger, against):
        if case_id not in broken:
            broken.add(case_id)
            yield case_id, breach
    for lane in range(LANES):
        yield from ((None, Breach(None, what)) for what in _broken_lane(ledger, lane))
    for lane in ledger.totals.wrong():
        yield None, Breach(None, f"lane {lane}: its cases do not add up to what is shown; metermend db recount")
    for events in ledger.events.pages():
        yield from ((None, Breach(None, f"event {event.id}: {what}")) for event, what in damaged(ledger, events))
    if against:
        yield from ((None, Breach(None, what)) for what in changed_lanes(ledger, against))
        yield from ((None, Breach(None, what)) for what in changed_events(ledger, against))


def _broken_cases(ledger: Ledger, against: Anchor | None) -> Iterator[tuple[str, Breach]]:
    for lane in range(LANES):
        for link in ledger.links.of_lane(lane):
            if link.entry_hash != link.head:
                what = "it is missing" if link.entry_hash is None else "it was altered, or an entry before it"
                yield link.case_id, Breach(link.version, f"{what}: link {link.number} of lane {lane} names it")
    for case_id in ledger.links.unlinked():
        yield case_id, Breach(None, "its last entry was not written by metermend: no link names it")
    if against:
        for case_id in sorted(against.cases.keys() - ledger.queries.heads().keys()):
            yield case_id, Breach(None, f"it is missing since {against.at:%Y-%m-%d %H:%M}")


def _broken_lane(ledger: Ledger, lane: int) -> Iterator[str]:
    """Yield where a lane's chain is broken; after a break it is followed from there."""
    previous, number = genesis(lane), 0
    for link in ledger.links.of_lane(lane):
        number += 1
        if link.number != number:
            yield f"lane {lane}: links {number} to {link.number - 1} are missing"
        elif link_hash(previous, asdict(link)) != link.hash:
            yield f"lane {lane}: link {number}, of {link.case_id}, was altered"
        previous, number = link.hash, link.number


def damaged(ledger: Ledger, events: Sequence[StoredEvent]) -> Iterator[tuple[StoredEvent, str]]:
    """Yield the events whose body is neither as received nor as retention or an erasure left it, and what is wrong.

    `events` were read before: retention says how far it goes before it removes anything.
    """
    said = ledger.checkpoints.get(BODIES_REMOVED)
    removed_before = from_text(said) if said else None
    told = ledger.erasures.told() if any(event.erased for event in events) else {}
    for event in events:
        is_removed = removed_before is not None and event.received_at < removed_before
        kept = event.erased[LEFT] if event.erased else event.sha256
        if event.erased and kept not in told.get(event.id, ()):
            yield event, "it says that a customer was erased from it, and nothing else says so"
        elif event.raw is None and kept is not None and not is_removed:
            yield event, "the body is missing, and retention has not come to it"
        elif event.raw is not None and sha256(event.raw).hexdigest() != kept:
            yield event, "the body was altered"
