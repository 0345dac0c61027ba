"""If these fail, refused records vanish from the books or are counted twice."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from tests.builders import a_failure, open_case
from workers.kernel.errors import Corrupt
from workers.kernel.ledger import Ledger, hash_chain
from workers.kernel.ledger.case import state_of
from workers.kernel.ledger.journal import ROUTES, Balance, EntryKind, Movement, Route, Tally

kinds_and_routes = st.sampled_from([(kind, route) for kind, routes in ROUTES.items() for route in routes])
quantities = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**40), max_value=10**40)


def along(kind_and_route: tuple[EntryKind, Route], records: int, quantity: Decimal) -> Movement:
    kind, (from_bucket, to_bucket) = kind_and_route
    return Movement(kind, from_bucket, to_bucket, records, quantity)


movements = st.builds(along, kinds_and_routes, st.integers(0, 10**12), quantities)


def seen(balance: Balance, movement: Movement) -> bool:
    return movement.from_bucket is None and movement.to_bucket is not None


@given(st.lists(movements, max_size=30))
def test_no_allowed_movement_breaks_the_equation(attempts: list[Movement]) -> None:
    balance, failed = Balance(), Tally()
    for movement in attempts:
        try:
            balance = balance.after(movement)
        except Corrupt:
            continue
        if seen(balance, movement):
            failed = failed + Tally(movement.records, movement.quantity)
        assert balance.holds()
        assert all(tally.records >= 0 for tally in balance.buckets.values())
    assert balance.failed == failed
    assert Balance.from_json(balance.to_json()) == balance + Balance()


@given(st.lists(movements, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_stored_book_tells_the_same_as_the_movements_made(
    sqlite_ledger: Ledger, tmp_path: Path, attempts: list[Movement]
) -> None:
    key = f"case {len(sqlite_ledger.queries.case_ids())}"
    case = open_case(sqlite_ledger, a_failure(key))
    made: list[Movement] = []
    with sqlite_ledger.cases.hold(case.id, "worker", timedelta(minutes=5)) as held:
        for movement in attempts:
            try:
                with held.transaction() as draft:
                    draft.move(movement)
                made.append(movement)
            except Corrupt:
                continue
    stored = sqlite_ledger.cases.get(case.id)
    assert stored is not None
    entries = sqlite_ledger.queries.entries(case.id)
    assert [(entry.kind, entry.records, Decimal(entry.quantity)) for entry in entries] == [
        (movement.kind, movement.records, movement.quantity) for movement in made
    ]
    replayed = Balance()
    for movement in made:
        replayed = replayed.after(movement)
    assert stored.balance == replayed + Balance()
    assert stored.state is state_of(replayed) if made else True
    assert hash_chain.first_break(key, stored.head, sqlite_ledger.queries.chained_entries(case.id)) is None


def test_every_kind_of_entry_has_a_route() -> None:
    assert set(ROUTES) == set(EntryKind)
