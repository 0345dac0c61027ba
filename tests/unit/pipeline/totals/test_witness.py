"""If these fail, usage that Stripe has billed is taken for refused, and its customer pays twice."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from tests.unit.pipeline.totals.play import DAY, a_frame, a_row, stripe_counts, the_meter
from workers.kernel.ledger import Ledger
from workers.pipeline.context import Context
from workers.pipeline.totals.claimed import WHY_UNCLEAR
from workers.pipeline.totals.stripe_totals import StripeTotals
from workers.pipeline.totals.witness import (
    BILLED,
    OWN_TOTAL,
    PROVED,
    STRIPE_TOTAL,
    UNCLEAR,
    WITNESS,
    witness,
)
from workers.records.schema import WRITTEN


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    return a_context(sqlite_ledger, tmp_path, clock)


def words(context: Context, claimed: list[dict[str, Any]], rows: list[dict[str, Any]], **how: Any) -> list[str]:
    """What the witness says of each claimed row."""
    return asked(context, claimed, rows, **how)[WITNESS].to_list()


def asked(context: Context, claimed: list[dict[str, Any]], rows: list[dict[str, Any]], **how: Any) -> pl.DataFrame:
    return witness(context, None, how.pop("meter", the_meter()), a_frame(claimed), [a_frame(rows)], **how)


SOUND = [a_row("a", "5"), a_row("b", "0.5"), a_row("b", "0.5", **{"@source": "copy.csv"})]
CLAIMED = a_row("c", "+3")


@pytest.mark.parametrize(
    ("total", "word"), [("5.5", PROVED), ("8.5", BILLED), ("6", BILLED), ("20", BILLED), ("5", UNCLEAR)]
)
def test_the_total_of_the_day_tells_whether_the_claimed_record_is_in_it(
    context: Context, total: str, word: str
) -> None:
    stripe_counts(context, [("cus_1", DAY, total), ("cus_1", DAY - timedelta(days=1), "900")])
    said = asked(context, [CLAIMED], [*SOUND, CLAIMED, a_row("d", "7", payload_stripe_customer_id="cus_2")])
    assert said.select(WITNESS, STRIPE_TOTAL, OWN_TOTAL).row(0) == (word, total, "5.5")


def test_a_day_on_which_stripe_counted_nothing_proves_its_records(context: Context) -> None:
    stripe_counts(context, [])
    assert words(context, [CLAIMED], [CLAIMED]) == [PROVED]


def test_rows_that_stripe_never_accepts_are_no_part_of_the_sum(context: Context) -> None:
    stripe_counts(context, [("cus_1", DAY, "5.5")])
    never = [a_row("x", "1,5"), a_row("y", "9", timestamp="1795003200000"), a_row("z", "9", event_name="api-calls")]
    assert words(context, [CLAIMED], [*SOUND, *never, CLAIMED]) == [PROVED]


def test_a_meter_that_counts_is_judged_by_the_number_of_records(context: Context) -> None:
    counting = the_meter(default_aggregation={"formula": "count"})
    stripe_counts(context, [("cus_1", DAY, "2")])
    assert words(context, [CLAIMED], [*SOUND, CLAIMED], meter=counting) == [PROVED]


@pytest.mark.parametrize(
    ("claimed", "rows", "why"),
    [
        (CLAIMED, [a_row("c", "3")], "may tell the same record"),
        (a_row(None, "3"), [a_row(None, "3", **{"@source": "copy.csv"})], "may tell the same record"),
        (CLAIMED, [a_row("a", "9")], "says something else"),
        (CLAIMED, [a_row("n", "1", **{WRITTEN: DAY + timedelta(days=3, hours=9)})], "so new"),
        (CLAIMED, [a_row("n", "1", **{WRITTEN: DAY + timedelta(hours=9)})], "ahead of time"),
        (CLAIMED | {WRITTEN: DAY + timedelta(days=3, hours=9)}, [], "so recently"),
        (CLAIMED | {"payload_value": "1,234"}, [], "cannot be read"),
        (CLAIMED | {"timestamp": "18.11.2026"}, [], "cannot be read"),
        (CLAIMED | {"payload_value": "+0"}, [], "nothing, or too small"),
    ],
)
def test_what_could_be_read_in_another_way_is_never_proved(
    context: Context, claimed: dict[str, Any], rows: list[dict[str, Any]], why: str
) -> None:
    stripe_counts(context, [("cus_1", DAY, "5.5")])
    said = asked(context, [claimed], [*SOUND, claimed | {"@row": 90}, *rows])
    assert (said[WITNESS].item(), why in said[WHY_UNCLEAR].item()) == (UNCLEAR, True), said[WHY_UNCLEAR]


def test_records_that_may_cancel_each_other_out_prove_nothing(context: Context) -> None:
    stripe_counts(context, [("cus_1", DAY, "5.5")])
    claimed = [a_row("c", "3"), a_row("d", "-3")]
    assert words(context, claimed, [*SOUND, *claimed]) == [UNCLEAR, UNCLEAR]


@pytest.mark.parametrize("settings", [{"default_aggregation": {"formula": "last"}}, {"event_time_window": "hour"}])
def test_a_meter_whose_total_is_no_sum_is_not_asked(context: Context, settings: dict[str, Any]) -> None:
    stripe = stripe_counts(context, [("cus_1", DAY, "5.5")])
    assert words(context, [CLAIMED], [*SOUND, CLAIMED], meter=the_meter(**settings)) == [UNCLEAR]
    assert not [call for call in stripe.calls if call.method == "event_summaries"]


def test_days_of_a_customer_take_one_call_and_what_exceeds_the_calls_is_said_to_be_unasked(
    context: Context,
) -> None:
    stripe = stripe_counts(context, [])
    days = [a_row(f"c{n}", "3", timestamp=str(int(DAY.timestamp()) - n * 86_400)) for n in range(3)]
    other = a_row("d", "3", payload_stripe_customer_id="cus_2")
    said = asked(context, [*days, other], [], asked=StripeTotals(context, None, calls=1))
    assert said[WITNESS].to_list() == [PROVED] * 3 + [UNCLEAR]
    assert "not asked" in said[WHY_UNCLEAR].item(3)
    assert len([call for call in stripe.calls if call.method == "event_summaries"]) == 1


def test_what_we_have_sent_counts_and_what_stripe_refused_does_not(context: Context, clock: FrozenClock) -> None:
    """Of three refused records one was sent and confirmed, and one is on its way."""
    book = Book(context, 3)
    sent = book.send([0])
    clock.turn(days=1)
    claimed = a_row("c", "3", timestamp=book.frame["timestamp"].item(0))
    stripe_counts(context, [("cus_1", DAY.replace(day=21), "0.5")])
    assert (
        asked(context, [claimed], [])[WHY_UNCLEAR].item() == "a record of ours is on its way and may count already"
    )
    book.confirm([0], sent)
    said = witness(context, None, the_meter(), a_frame([claimed]), [book.frame])
    assert (said[WITNESS].item(), said[OWN_TOTAL].item()) == (PROVED, "0.5")


@pytest.mark.parametrize("identifier", ["u1", None])
def test_a_record_that_we_have_sent_already_is_never_proved(
    context: Context, clock: FrozenClock, identifier: str | None
) -> None:
    """The total agrees, since it holds what we sent; a record without an identifier was sent under one of ours."""
    book = Book(context, 2)
    if identifier is None:
        book.frame = book.frame.with_columns(pl.lit("mm-0123456789abcdef01234567-2").alias("identifier"))
    book.confirm([1], book.send([1]))
    clock.turn(days=1)
    stripe_counts(context, [("cus_1", DAY.replace(day=21), "1.5")])
    said = asked(context, [a_row(identifier, "+1.5", timestamp=book.frame["timestamp"].item(1))], [])
    assert (said[WITNESS].item(), "may tell the same record" in said[WHY_UNCLEAR].item()) == (UNCLEAR, True)


class Fate(NamedTuple):
    amount: Decimal
    customer: str
    claimed: bool
    counted: bool


FATES = st.lists(
    st.builds(
        Fate,
        st.decimals(-3, 9, places=1, allow_nan=False),
        st.sampled_from(["cus_1", "cus_2"]),
        st.booleans(),
        st.sampled_from([True, True, True, False]),
    ),
    min_size=1,
    max_size=12,
)


@given(fates=FATES)
def test_a_day_is_billed_right_once_its_proved_records_are_sent(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path, fates: list[Fate]
) -> None:
    """Whatever Stripe has counted: proved records of a day and its total together are what its rows come to."""
    with_context = _context(tmp_path_factory, migrated_sqlite)
    context = next(with_context)
    rows = [
        a_row(f"i{n}", str(fate.amount), payload_stripe_customer_id=fate.customer) for n, fate in enumerate(fates)
    ]
    totals = {
        c: sum((f.amount for f in fates if f.customer == c and f.counted), Decimal(0)) for c in ("cus_1", "cus_2")
    }
    stripe_counts(context, [(customer, DAY, str(total)) for customer, total in totals.items()])
    claimed = [row for row, fate in zip(rows, fates, strict=True) if fate.claimed]
    told = iter(words(context, claimed, rows) if claimed else [])
    fate_of = [(fate, next(told)) for fate in fates if fate.claimed]
    for customer, total in totals.items():
        mine = [(fate, word) for fate, word in fate_of if fate.customer == customer]
        due = sum((fate.amount for fate in fates if fate.customer == customer), Decimal(0))
        if any(word == PROVED for _, word in mine):
            assert total + sum(fate.amount for fate, word in mine if word == PROVED) == due
        rest_counted = all(f.counted for f in fates if f.customer == customer and not f.claimed)
        if mine and rest_counted and all(f.amount > 0 and not f.counted for f, _ in mine):
            assert {word for _, word in mine} == {PROVED}
    next(with_context, None)


def _context(factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Context]:
    """A context on an empty ledger, for one example."""
    folder = factory.mktemp("witness")
    (folder / "ledger.db").write_bytes(migrated.read_bytes())
    from workers.kernel.ledger import connect

    clock = FrozenClock()
    ledger = connect(f"sqlite:///{folder / 'ledger.db'}", clock)
    yield a_context(ledger, folder, clock)
    ledger.close()
