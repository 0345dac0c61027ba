"""Suggestions for a person: likely, deterministic, and quick where there are many ids."""

import random
import string
import time

import polars as pl
import pytest

from workers.remedies.suggestions import IdIndex, nearest_names


def ids(count: int) -> list[str]:
    letters = random.Random(7)
    return ["cus_" + "".join(letters.choices(string.ascii_letters + string.digits, k=14)) for _ in range(count)]


@pytest.mark.parametrize(
    "slip",
    [
        lambda text: text[:7] + "#" + text[8:],
        lambda text: text[:12] + text[13:],
        lambda text: text[:5] + "x" + text[5:],
        str.lower,
    ],
)
def test_a_single_slip_in_an_id_is_found(slip: object) -> None:
    known = ids(2000)
    assert callable(slip)
    wrong = pl.Series([slip(known[1234]), "cus_nothing_like_it", None])
    assert IdIndex(pl.Series(known)).nearest(wrong).to_list() == [known[1234], None, None]


def test_ten_thousand_wrong_ids_among_a_hundred_thousand_take_seconds_not_minutes() -> None:
    """One file of another system's ids must not hold up a worker."""
    known = ids(100_000)
    wrong = pl.Series([text[:-1] + "#" for text in known[:10_000]])
    start = time.perf_counter()
    found = IdIndex(pl.Series(known)).nearest(wrong)
    assert found.null_count() == 0
    assert time.perf_counter() - start < 20


def test_the_nearest_name_does_not_hang_on_the_order_of_the_meters() -> None:
    wrong = pl.Series(["api_call", "zzz"])
    known = ["api_calls", "api_cells", "tokens"]
    assert (
        nearest_names(wrong, known).to_list()
        == nearest_names(wrong, reversed(known)).to_list()
        == ["api_calls", None]
    )
