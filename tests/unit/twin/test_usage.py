"""The truth that every proof is compared with: were it wrong, so were all proofs."""

from decimal import Decimal
from typing import Any

import pytest

from fixtures.twin.usage import IDENTIFIER_MEMORY, Refusal, Usage, UsageBook, aggregate, decimal_text

DAY = 86400


def _usage(number: int, value: str, timestamp: int, received_at: float = 0.0) -> Usage:
    return Usage(f"id-{number}", "mtr_1", "cus_a", value, timestamp, "test", received_at)


def _meter(formula: str, window: str | None = None) -> dict[str, Any]:
    return {"default_aggregation": {"formula": formula}, "event_time_window": window}


USAGES = [_usage(1, "5", 30), _usage(2, "0.1", 90000), _usage(3, "0.2", 60), _usage(4, "-2", 3700)]


@pytest.mark.parametrize(
    ("formula", "window", "billed"),
    [
        ("sum", None, "3.3"),
        ("count", None, "4"),
        ("last", None, "0.1"),
        ("sum", "day", "-1.9"),
        ("sum", "hour", "-1.7"),
        ("count", "hour", "3"),
        ("last", "day", "0.1"),
    ],
)
def test_each_formula_counts_as_stripe_does(formula: str, window: str | None, billed: str) -> None:
    """A pre-aggregated meter keeps the last record received in a window, not the latest in time."""
    assert aggregate(USAGES, _meter(formula, window)) == Decimal(billed)


def test_nothing_used_is_nothing_billed() -> None:
    assert [aggregate([], _meter(formula)) for formula in ("sum", "count", "last")] == [0, 0, 0]


def test_the_sum_of_the_largest_and_the_smallest_value_is_exact() -> None:
    usages = [_usage(1, "999999999999999", 0), _usage(2, "0.00000000000000000000000000001", 0)]
    assert aggregate(usages, _meter("sum")) == Decimal("999999999999999.00000000000000000000000000001")


def test_an_identifier_is_remembered_for_24_hours_and_no_longer() -> None:
    book = UsageBook()
    book.accept(_usage(1, "5", 30, received_at=100.0))
    assert book.remembered("id-1", 100.0 + IDENTIFIER_MEMORY - 1)
    assert not book.remembered("id-1", 100.0 + IDENTIFIER_MEMORY)
    assert not book.remembered("id-2", 100.0)


@pytest.mark.parametrize("hold", [True, False])
def test_a_refused_record_holds_its_identifier_only_where_set_so(hold: bool) -> None:
    book = UsageBook()
    book.refuse(Refusal("id-1", None, "no_meter", "", "test", 0.0), hold_identifier=hold)
    assert bool(book.remembered("id-1", 1.0)) is hold


def test_a_cancelled_record_counts_no_more() -> None:
    book = UsageBook()
    for usage in USAGES:
        book.accept(usage)
    book.cancel(USAGES[0])
    assert aggregate(book.counted("mtr_1", "cus_a"), _meter("sum")) == Decimal("-1.7")


@pytest.mark.parametrize(("number", "text"), [("1E+3", "1000"), ("0.10", "0.1"), ("-0.0", "0"), ("12", "12")])
def test_totals_are_plain_decimal_text(number: str, text: str) -> None:
    assert decimal_text(Decimal(number)) == text
