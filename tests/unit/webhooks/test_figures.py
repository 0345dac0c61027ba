"""If these fail, the console shows other numbers than the journal holds."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import given

from webhooks.console.figures import cell, duration, equation, grouped, known_by, moment, pretty_json
from workers.kernel import advice
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.journal import Balance, Bucket, Found, Tally
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.reasons import NO_FAULT_FOUND, REASONS
from workers.remedies import REMEDIES

AT = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (1_234_567, "1,234,567"),
        ("-12345.678900", "\u221212,345.6789"),
        ("0.000", "0"),
        ("100", "100"),
        ("0.000001", "0.000001"),
        ("123456789012345678901234567890.1", "123,456,789,012,345,678,901,234,567,890.1"),
    ],
)
def test_numbers_are_grouped_and_keep_every_digit(number: int | str, shown: str) -> None:
    assert grouped(number) == shown


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8))
def test_grouping_changes_no_quantity(quantity: Decimal) -> None:
    shown = grouped(format(quantity, "f"))
    assert Decimal(shown.replace(",", "").replace("\u2212", "-")) == quantity


def test_blanks_at_the_ends_of_a_cell_can_be_seen() -> None:
    """A browser shows ` 12 ` as `12`, and a repair as no change at all."""
    assert [cell(text) for text in ("1 2", " 12 ", "", None)] == ["1 2", "'\u00a012\u00a0'", "''", "nothing"]


@pytest.mark.parametrize("how", Found)
def test_how_a_row_is_known_is_said_in_words(how: Found) -> None:
    """Nobody knows that our own word `exact` means "as many as Stripe has counted"."""
    assert "Stripe" in known_by(how)


def test_times_are_shown_in_utc() -> None:
    there = datetime(2026, 11, 21, 10, 30, tzinfo=timezone(timedelta(hours=1)))
    assert moment(there) == moment(datetime(2026, 11, 21, 9, 30, tzinfo=UTC)) == "2026-11-21 09:30:00 UTC"
    assert moment(None) == "\u2013"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (17_728, "4 h 55 min"), (200_000, "2 d 7 h")],
)
def test_lengths_of_time_are_shown_in_their_two_largest_units(seconds: float, shown: str) -> None:
    assert duration(timedelta(seconds=seconds)) == shown


@given(st.binary(max_size=100))
def test_any_body_can_be_shown(raw: bytes) -> None:
    assert isinstance(pretty_json(raw), str)


def test_a_json_body_is_indented_and_keeps_its_text() -> None:
    assert pretty_json('{"a":"größe"}'.encode()) == '{\n  "a": "größe"\n}'
    assert pretty_json(b"[" * 100_000).startswith("[[[")


@given(st.dictionaries(st.sampled_from(list(Bucket)), st.integers(0, 10**9), min_size=1))
def test_the_terms_make_up_the_failed_records(counts: dict[Bucket, int]) -> None:
    buckets = {bucket: Tally(count, Decimal(count) / 8) for bucket, count in counts.items()}
    failed = sum(buckets.values(), Tally())
    shown = equation(Balance(failed, buckets))
    assert shown.holds
    assert sum(term.records for term in shown.terms) == shown.records == failed.records
    assert sum(term.quantity.quantity for term in shown.terms) == shown.quantity.quantity
    if failed.records:
        assert sum(term.width for term in shown.terms) == pytest.approx(100, abs=0.01)


def test_an_equation_that_does_not_hold_is_shown_as_such() -> None:
    assert not equation(Balance(Tally(2, Decimal(2)), {Bucket.CONFIRMED: Tally(1, Decimal(1))})).holds


def test_every_state_of_a_case_has_a_next_step() -> None:
    assert set(advice.NEXT_STEP) == set(CaseState)


def test_a_case_says_of_each_reason_in_it_what_it_means_and_what_to_do() -> None:
    def entry(way: tuple[Bucket, Bucket], **reasons: int) -> EntryRow:
        return EntryRow(1, "moved", *way, 1, "1", 1, None, None, None, None, "metermend", {"reasons": reasons}, AT)

    waits, leaves = (Bucket.PENDING, Bucket.QUARANTINED), (Bucket.QUARANTINED, Bucket.PENDING)
    journal = [
        entry(waits, no_meter=1, of_tomorrow=2, no_fault_found=3, window_open=1),
        entry(leaves, window_open=1),
    ]
    assert advice.reasons_of(journal) == {
        "no_fault_found": (3, REASONS[NO_FAULT_FOUND]),
        "of_tomorrow": (2, advice.OF_THE_RECORD),
        "no_meter": (1, REMEDIES["no_meter"].reason),
    }
