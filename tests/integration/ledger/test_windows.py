"""Which case a window belongs to, on both databases. If these fail, one bad file makes many cases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from tests.builders import a_failure
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.case import Failure

GAP, LONGEST = timedelta(minutes=15), timedelta(hours=6)


def a_window(minute: int, *, second: int = 0, **changes: str) -> Failure:
    at = f"2026-11-20T10:{minute:02}:{second:02}.000000Z"
    key = f"report:{changes}:{at}"
    return a_failure(key, **{"meter_id": "mtr_1", "window_start": at, "window_end": at, **changes})


def join(ledger: Ledger, window: Failure) -> Failure:
    return ledger.cases.join(window, GAP, LONGEST)


def test_windows_taken_in_at_the_same_instant_lead_to_one_case(ledger: Ledger) -> None:
    windows = [a_window(0, second=second) for second in range(0, 60, 5)] * 2
    with ThreadPoolExecutor(8) as pool:
        joined = {failure.case_id for failure in pool.map(lambda window: join(ledger, window), windows)}
    assert len(joined) == 1


def test_a_window_joins_none_of_another_account_or_meter_and_none_without_times(ledger: Ledger) -> None:
    first = join(ledger, a_window(0))
    others = [
        a_window(1, account="acct_1"),
        a_window(1, meter_id="mtr_2"),
        a_failure("report:evt_1", meter_id="mtr_1"),
    ]
    assert [join(ledger, window) for window in others] == others
    assert join(ledger, a_window(1)) == first


def test_a_case_that_nothing_stands_in_yet_is_not_due(ledger: Ledger) -> None:
    """Else a worker looks after it in vain, and keeps the one away that is about to fill it."""
    join(ledger, a_window(0))
    assert ledger.cases.due(10) == []
