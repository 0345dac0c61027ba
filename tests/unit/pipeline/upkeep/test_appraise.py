"""If these fail, people work on the wrong case first: on one without its deadline, or one of no money."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.books import Book, a_context
from tests.builders import a_failure, a_movement
from tests.conftest import FrozenClock
from tests.recording import RecordingStripeApi
from workers.kernel.errors import Transient
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.appraisal import Appraisal, LostBy, at_risk, lost_by
from workers.kernel.ledger.appraisals import OpenUsage
from workers.kernel.ledger.case import VALIDATION_REPORT, Case
from workers.kernel.ledger.case_facts import CaseFacts
from workers.kernel.ledger.case_list import CaseFilter, CaseOrder
from workers.kernel.ledger.journal import Bucket, EntryKind, Tally
from workers.kernel.money import Amount, Money, UnitPrice
from workers.pipeline.case_facts import facts_of
from workers.pipeline.upkeep.appraise import appraise

CENT = UnitPrice("usd", Decimal(1), Decimal(1))
HOUR = timedelta(hours=1)


def a_meter(event_name: str = "api_calls", formula: str = "sum", status: str = "active") -> dict[str, Any]:
    aggregation = {"formula": formula}
    return {
        "id": f"mtr_{event_name}",
        "event_name": event_name,
        "status": status,
        "default_aggregation": aggregation,
    }


@pytest.fixture
def stripe() -> RecordingStripeApi:
    return RecordingStripeApi(meters=[a_meter()], prices={"mtr_api_calls": [CENT]})


@pytest.fixture
def a_book(
    sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, stripe: RecordingStripeApi
) -> Callable[..., Book]:
    """Makes a case of records that wait for a person: record n has the quantity n + 0.5."""

    def make(records: int = 3, **failure: Any) -> Book:
        book = Book(a_context(sqlite_ledger, tmp_path, clock, stripe=stripe), records, **failure)
        book.move(EntryKind.QUARANTINED, list(range(records)))
        keep_facts(book)
        return book

    return make


def keep_facts(book: Book) -> None:
    with book.held() as held, held.transaction() as transaction:
        transaction.know(*facts_of(book.context, held))


def appraised(book: Book) -> Case:
    appraise(book.context)
    case = book.context.ledger.cases.get(book.case_id)
    assert case is not None
    return case


def test_open_usage_is_worth_its_quantity_at_the_meters_price(a_book: Callable[..., Book]) -> None:
    assert at_risk(appraised(a_book(3))) == {"usd": Amount(Decimal("0.045"), Decimal("0.045"))}


def test_a_meter_that_counts_bills_records_and_one_that_keeps_a_value_bills_no_sum(
    a_book: Callable[..., Book], stripe: RecordingStripeApi, clock: FrozenClock
) -> None:
    stripe.meters = [a_meter(formula="count")]
    book = a_book(3)
    assert at_risk(appraised(book))["usd"].high == Decimal("0.03")
    stripe.meters = [a_meter(formula="last")]
    clock.turn(hours=1)
    case = appraised(book)
    assert (at_risk(case), case.lacks) == (
        {},
        ["api_calls bills one value of a period, so its records are worth no sum"],
    )


def test_without_a_price_a_case_says_why(a_book: Callable[..., Book], stripe: RecordingStripeApi) -> None:
    stripe.prices = {}
    case = appraised(a_book())
    assert (at_risk(case), case.lacks) == ({}, ["api_calls has no active price"])


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_what_no_meter_can_be_called_is_not_asked_for(
    sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, stripe: RecordingStripeApi, name: str
) -> None:
    """PostgreSQL takes neither as a key: one hostile row would keep its case from being worked on."""
    context = a_context(sqlite_ledger, tmp_path, clock, stripe=stripe)
    usage = OpenUsage({name: {Bucket.QUARANTINED: Tally(1, Decimal(1))}}, None, [name])
    with sqlite_ledger.cases.hold(a_failure(), "w", HOUR) as held, held.transaction() as transaction:
        transaction.move(a_movement())
        transaction.know(CaseFacts(usage.by_meter, {}, 1), sqlite_ledger.appraisals.of(None, usage, HOUR))
    appraise(context)
    assert stripe.calls == []
    [case] = sqlite_ledger.case_list.find(CaseFilter())
    assert "no meter can have" in (case.lacks or [""])[0]


def test_a_key_that_may_not_ask_is_told_and_asked_no_more_than_once_an_hour(
    a_book: Callable[..., Book], stripe: RecordingStripeApi, clock: FrozenClock
) -> None:
    stripe.denied = "/v1/prices", "/v1/subscriptions"
    case = appraised(a_book())
    assert case.lacks == [
        "the key may not read what usage costs: allow the key in STRIPE_API_KEY: read on Prices",
        "the key may not read when customers are invoiced: allow the key in STRIPE_API_KEY: read on Subscriptions",
    ]
    assert lost_by(case) is LostBy.TOO_OLD
    asked = len(stripe.calls)
    clock.turn(minutes=30)
    appraise(a_book(key="another").context)
    assert len(stripe.calls) == asked


def test_the_next_invoice_is_the_deadline_where_it_is_earlier_and_is_read_again_once_it_is_final(
    a_book: Callable[..., Book], stripe: RecordingStripeApi, clock: FrozenClock
) -> None:
    ends = clock.now + timedelta(days=3)
    stripe.periods = {"cus_1": ends}
    book = a_book()
    case = appraised(book)
    assert (case.deadline, lost_by(case)) == (ends + HOUR, LostBy.INVOICE)
    clock.turn(days=3, hours=1)
    stripe.periods = {"cus_1": ends + timedelta(days=40)}
    assert lost_by(appraised(book)) is LostBy.TOO_OLD


def test_what_was_read_is_good_for_an_hour_and_a_period_until_it_ends(
    a_book: Callable[..., Book], stripe: RecordingStripeApi, clock: FrozenClock
) -> None:
    stripe.periods = {"cus_1": clock.now + timedelta(days=3)}
    book = a_book()
    for _ in range(3):
        appraise(book.context)
        clock.turn(hours=1)
    asked = [call.method for call in stripe.calls]
    assert (asked.count("meter_prices"), asked.count("period_end")) == (3, 1)


def test_a_turn_asks_a_bounded_number_of_questions_and_the_next_one_goes_on(
    sqlite_ledger: Ledger, tmp_path: Path, stripe: RecordingStripeApi, clock: FrozenClock
) -> None:
    ledger, context = sqlite_ledger, a_context(sqlite_ledger, tmp_path, clock, stripe=stripe)
    count = 5
    stripe.meters = [a_meter(f"m{n}") for n in range(count)]
    stripe.prices = {f"mtr_m{n}": [CENT] for n in range(count)}
    for number in range(count):
        failure = a_failure(str(number), kind=VALIDATION_REPORT, event_name=f"m{number}", code="x")
        with ledger.cases.hold(failure, "w", HOUR) as held, held.transaction() as transaction:
            transaction.move(a_movement())
            transaction.know(CaseFacts({}, {}, 0), Appraisal(1, None))
    appraise(context, calls=3)
    assert len([call for call in stripe.calls if call.method == "meter_prices"]) == 3
    clock.turn(minutes=30)
    appraise(context, calls=3)
    assert ledger.money.at_risk().unpriced == 0


def test_while_stripe_does_not_answer_a_case_keeps_what_was_known_of_it_and_is_looked_at_soon(
    a_book: Callable[..., Book], stripe: RecordingStripeApi, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = a_book(3)
    before = at_risk(appraised(book))
    clock.turn(hours=1)
    monkeypatch.setattr(stripe, "meter_prices", away)
    case = appraised(book)
    assert (at_risk(case), case.appraise_at) == (before, clock.now + timedelta(minutes=1))


def away(*_: object) -> None:
    raise Transient("Stripe could not be reached")


def test_a_day_less_to_go_weighs_as_much_as_twice_the_money(clock: FrozenClock) -> None:
    """Money by time left, so that neither a rich case nor an old one is left to the end."""
    soon, later = clock.now + timedelta(days=2), clock.now + timedelta(days=3)
    poor, rich = ({"usd": Amount(Decimal(n), Decimal(n))} for n in (10, 20))
    assert urgency(soon, poor) == urgency(later, rich)
    assert urgency(soon, rich) < urgency(soon, poor) < urgency(later, poor)
    assert urgency(soon, {}) > urgency(soon, poor)
    assert Appraisal(0, None).columns(clock.now, clock.now)["urgent_at"] is None


def urgency(deadline: datetime, money: Money) -> datetime:
    before = deadline - timedelta(days=1)
    found: datetime = Appraisal(1, deadline, at_risk=money).columns(before, before)["urgent_at"]
    return found


def test_a_record_that_is_lost_hides_none_that_can_still_be_saved(
    a_book: Callable[..., Book], sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    """Record n is n seconds older than the first; what is lost altogether comes last."""
    book = a_book(3)
    first = appraised(book).deadline
    assert first is not None
    clock.now = first
    assert appraised(book).deadline == first + timedelta(seconds=1)
    clock.turn(hours=1)
    assert appraised(book).urgent_at is None
    assert sqlite_ledger.money.at_risk().overdue == 1


def test_cases_are_listed_and_worked_on_by_money_and_time_left(
    a_book: Callable[..., Book], sqlite_ledger: Ledger
) -> None:
    poor, rich = a_book(1, key="poor"), a_book(30, key="rich")
    appraise(poor.context)
    expected = [rich.case_id, poor.case_id]
    assert [case.id for case in sqlite_ledger.case_list.find(CaseFilter(), CaseOrder.RISK)] == expected
    assert [case.id for case in sqlite_ledger.cases.due(2)] == expected
    assert [case.id for case in sqlite_ledger.cases.due(1)] == expected[:1]


def test_what_is_proven_to_count_is_recovered_and_no_more_at_risk(
    a_book: Callable[..., Book], sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    book = a_book(3)
    appraise(book.context)
    assert sqlite_ledger.money.at_risk().money["usd"].high == Decimal("0.045")
    book.move(EntryKind.REOPENED, [0, 1], route=1)
    book.confirm([0, 1], book.send([0, 1]))
    keep_facts(book)
    keep_facts(book)
    week = sqlite_ledger.money.recovered(clock.now - timedelta(days=7))
    assert (week.records, week.by_meter["api_calls"].quantity) == (2, Decimal(2))
    assert week.money == {"usd": Amount(Decimal("0.02"), Decimal("0.02"))}
    left = sqlite_ledger.money.at_risk()
    assert (left.cases, left.records, left.money["usd"].high) == (1, 1, Decimal("0.025"))
    assert sqlite_ledger.money.recovered(clock.now + HOUR).records == 0


def test_what_counts_no_more_is_recovered_no_more_whatever_it_costs_by_now(
    a_book: Callable[..., Book], sqlite_ledger: Ledger, clock: FrozenClock, stripe: RecordingStripeApi
) -> None:
    """Else each refusal of what was confirmed widens what is said to be recovered, up to twice of it."""
    stripe.prices["mtr_api_calls"] = [UnitPrice("usd", Decimal(1), Decimal(2))]
    book = a_book(2)
    appraise(book.context)
    book.move(EntryKind.REOPENED, [0, 1], route=1)
    book.confirm([0, 1], book.send([0, 1]))
    keep_facts(book)
    clock.turn(hours=2)
    stripe.prices["mtr_api_calls"] = [CENT]
    appraise(book.context)
    book.move(EntryKind.REFUSED, [0, 1], route=1)
    keep_facts(book)
    week = sqlite_ledger.money.recovered(clock.now - timedelta(days=7))
    assert (week.records, week.money) == (0, {"usd": Amount(Decimal(0), Decimal(0))})
