"""Parts that come back in another order, or all at once, break the order of records or the memory budget."""

import threading
import time
from collections.abc import Iterator

import pytest

from workers.offline.scan import in_order


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item % 2 == 0 else 0)
        return item

    assert list(in_order(slow_first, range(20))) == list(range(20))


def test_no_more_parts_are_in_the_making_than_threads() -> None:
    lock, busy, most = threading.Lock(), 0, 0

    def work(item: int) -> int:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.001)
        with lock:
            busy -= 1
        return item

    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(30):
            taken += 1
            yield item

    for result in in_order(work, items(), threads=3):
        assert taken <= result + 4
    assert most <= 3


def test_the_first_error_ends_it() -> None:
    def fail(item: int) -> int:
        if item == 3:
            raise RuntimeError("three")
        return item

    seen: list[int] = []
    with pytest.raises(RuntimeError, match="three"):
        seen.extend(in_order(fail, range(100)))
