"""What must hold after every step, and what must hold once everything has come to rest."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from tests.books import counted_by_window, records_of
from tests.unit.protocol.stripe_truth import OLD_CALLS
from tests.unit.protocol.world import World
from workers.kernel.clock import from_text
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.journal import Bucket
from workers.kernel.reasons import UNCERTAIN
from workers.pipeline.audit.prove import prove
from workers.pipeline.record_sets import ORIGIN
from workers.records.schema import REASON, VALID_FROM, with_columns_of

_SHOWN = {ORIGIN: pl.String, REASON: pl.String, VALID_FROM: pl.String}


@dataclass(frozen=True)
class Stand:
    """Where a record stands."""

    case_id: str
    origin: str
    bucket: Bucket
    reason: str | None
    valid_from: str | None


class Invariants:
    """The promises, checked against the truth that only the double of Stripe knows.

    What was found in a case holds for its version: a case that has not changed is not read again.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._known: dict[str, tuple[int, list[Stand]]] = {}

    def check(self) -> None:
        """Nothing is billed twice, nothing is lost, and what was taken back stays so."""
        billed = self.world.stripe.billed()
        twice = {origin: times for origin, times in billed.items() if times > 1}
        assert not twice, f"billed more than once: {twice}"
        cases = self._cases()
        for case in cases:
            self._read(case)
        self._check_nothing_is_lost(cases)
        undone = {origin for origin in self.world.stripe.taken_back if billed[origin]}
        assert not undone, f"undone, but billed: {undone}"

    def check_at_rest(self) -> None:
        """Nothing is stuck, every refused record stands where it should, and the journal says what is billed."""
        self.check()
        self._known.clear()
        self.check()
        assert self.world.in_flight() == 0, "something is stuck"
        assert self.world.ledger.queries.event_counts().get("failed", 0) == 0, "an event was given up"
        stands = self.stands()
        self._check_every_refusal_stands_once(self._cases(), stands)
        for stand in stands:
            self._check_deferred(stand)
        self._check_book_against_truth(stands)

    def stands(self) -> list[Stand]:
        """Return where every located record stands."""
        return [stand for case in self._cases() for stand in self._read(case)]

    def _cases(self) -> list[Case]:
        return list(self.world.ledger.queries.cases(limit=10_000))

    def _read(self, case: Case) -> list[Stand]:
        version, stands = self._known.get(case.id, (-1, []))
        if case.version != version:
            broken = [p.breach for p in prove(self.world.ledger, self.world.context.archive, case.id) if p.breach]
            assert not broken, f"the journal of {case.id} does not hold: {broken}"
            stands = list(self._standing(case))
            self._known[case.id] = (case.version, stands)
        return stands

    def _standing(self, case: Case) -> Iterator[Stand]:
        for bucket in Bucket:
            records = records_of(self.world.context, case.id, bucket) if case.balance[bucket].records else None
            if records is not None:
                for row in with_columns_of(records.collect(), _SHOWN).select(list(_SHOWN)).iter_rows():
                    yield Stand(case.id, row[0], bucket, row[1], row[2])

    def _check_nothing_is_lost(self, cases: list[Case]) -> None:
        """Every record of an event that is done is counted as failed, so that the equation covers it."""
        counted: Counter[str] = Counter()
        for case in cases:
            for window, records in counted_by_window(self.world.ledger, case):
                counted[window] += records
        for event_id, refused in self.world.company.expected.items():
            event = self.world.ledger.events.get(event_id)
            if event is not None and event.state == "done":
                for key, named in refused.items():
                    assert counted[key] >= len(named), f"lost of {key}: it counts {counted[key]}"

    def _check_every_refusal_stands_once(self, cases: list[Case], stands: list[Stand]) -> None:
        found: dict[str, list[str]] = defaultdict(list)
        told: dict[str, list[str]] = defaultdict(list)
        for stand in stands:
            found[stand.case_id].append(stand.origin)
        case_of = {window: case.id for case in cases for window, _ in counted_by_window(self.world.ledger, case)}
        refused = {key: named for event in self.world.company.expected.values() for key, named in event.items()}
        for key, named in refused.items():
            told[case_of[key]] += named
        for case_id, named in told.items():
            assert sorted(found[case_id]) == sorted(named), f"lost or doubled of {case_id}: {found[case_id]}"

    def _check_deferred(self, stand: Stand) -> None:
        if stand.bucket is Bucket.DEFERRED:
            waits = stand.valid_from is None and not self.world.stripe.is_active(OLD_CALLS)
            early = stand.valid_from is not None and from_text(stand.valid_from) > self.world.clock()
            assert waits or early, f"stuck although its time has come: {stand}"

    def _check_book_against_truth(self, stands: list[Stand]) -> None:
        """What is confirmed is billed; what is billed is confirmed, or kept apart as perhaps billed."""
        of_origin = defaultdict(list)
        for stand in stands:
            of_origin[stand.origin].append(stand)
        billed = self.world.stripe.billed()
        for origin, found in of_origin.items():
            confirmed = sum(stand.bucket is Bucket.CONFIRMED for stand in found)
            assert confirmed <= billed[origin], f"confirmed, but not billed: {found}"
            safe = confirmed or any(stand.reason in UNCERTAIN for stand in found)
            assert safe or not billed[origin], f"billed, but a retry would bill it again: {found}"
