"""Cases and movements for tests that only care about one of their fields."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from workers.kernel.ledger import Ledger
from workers.kernel.ledger.case import Case, Failure
from workers.kernel.ledger.journal import ROUTES, EntryKind, Movement


def a_failure(key: str = "import_set:impset_1", **changes: Any) -> Failure:
    """A file of which some rows were refused."""
    failure = Failure(
        key=key,
        kind="import_set",
        livemode=False,
        summary="12 rows of usage.csv were refused",
        code="malformed_record",
        event_name="api_calls",
        import_set_id="impset_1",
    )
    return replace(failure, **changes)


def open_case(ledger: Ledger, failure: Failure) -> Case:
    """A failure's case, opened if it is new, which nobody holds."""
    with ledger.cases.hold(failure, "opens", timedelta(minutes=1)) as held:
        return held.case


def a_movement(kind: EntryKind = EntryKind.SEEN, records: int = 1, quantity: str = "1", **changes: Any) -> Movement:
    """A movement of `kind` along the first of its routes."""
    from_bucket, to_bucket = ROUTES[kind][0]
    movement = Movement(kind, from_bucket, to_bucket, records, Decimal(quantity))
    return replace(movement, **changes)
