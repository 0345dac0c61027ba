"""Which acts a case offers. If these fail, a page offers what cannot help, or keeps back what would."""

from dataclasses import replace

import pytest

from tests.unit.webhooks.test_storybook import CASE, TALLY
from webhooks.console.offers import OFFERS, Standing, fitting
from workers.kernel.codes import Code
from workers.kernel.ledger.journal import Balance, Bucket
from workers.kernel.reasons import ARRIVAL_UNKNOWN, NOT_SAMPLED

SETTLE = ["corrected", "write_off"]


def offered(
    *reasons: str, bucket: Bucket = Bucket.QUARANTINED, unconfirmed: int = 0, counted: bool = False
) -> list[str]:
    case = replace(CASE, balance=Balance(TALLY, {bucket: TALLY}))
    return list(fitting(Standing(case, dict.fromkeys(reasons), unconfirmed, counted)))


@pytest.mark.parametrize(
    ("code", "form"),
    [
        (Code.CUSTOMER_NOT_FOUND, "map_customer"), (Code.NO_METER, "map_meter"), (Code.ARCHIVED_METER, "map_meter"),
        (Code.VALUE_NOT_FOUND, "map_value_key"), (Code.INVALID_VALUE, "map_decimal_mark"),
    ],
)  # fmt: skip
def test_a_code_is_answered_by_the_rule_that_mends_it(code: Code, form: str) -> None:
    assert offered(code) == [form, "set_value", "retry", *SETTLE]


def test_what_may_be_billed_is_released_and_not_planned_anew() -> None:
    assert offered(ARRIVAL_UNKNOWN) == ["release", *SETTLE]
    assert offered(ARRIVAL_UNKNOWN, Code.NO_METER) == ["map_meter", "set_value", "retry", "release", *SETTLE]
    assert offered(bucket=Bucket.SUBMITTED, unconfirmed=3) == ["release"]


def test_records_without_a_row_are_looked_for_again_and_not_edited() -> None:
    assert offered(NOT_SAMPLED, counted=True) == ["retry", *SETTLE]


def test_what_waits_for_its_time_is_settled_otherwise_or_let_be() -> None:
    assert offered(bucket=Bucket.DEFERRED) == SETTLE


@pytest.mark.parametrize("bucket", [Bucket.CONFIRMED, Bucket.SUBMITTED, Bucket.WRITTEN_OFF])
def test_a_case_of_which_nothing_waits_offers_nothing(bucket: Bucket) -> None:
    assert offered(bucket=bucket) == []


def test_a_decimal_mark_is_said_as_the_terminal_says_it() -> None:
    offer = OFFERS["map_decimal_mark"]
    said = offer.arguments("case_1", {"old": "gauge", "mark": ",", "thousands": "blank"}, {})
    assert said == {"rule": "decimal_mark", "key": "gauge", "value": ", "}
