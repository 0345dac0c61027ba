"""Which row a validation report can mean: if these fail, usage that was billed is billed again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.kernel.codes import Code
from workers.pipeline.intake.claims import MEANT, WHY_NOT, Claim
from workers.records.catalog import Catalog, Meter
from workers.records.schema import IDENTIFIER, ROW, SOURCE, UNREADABLE, WRITTEN, dtype_of
from workers.sources import settle, wanted

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
END = START + timedelta(seconds=10)
DAY = timedelta(days=1)
AN_HOUR_AGO = str(int(START.timestamp()) - 3600)
METER = Meter("tokens", active=True, customer_column="payload_stripe_customer_id", value_column="payload_value")


def claim(code: str, *, meant: str | None = "tokens", meters: tuple[Meter, ...] = (METER,)) -> Claim:
    names = pl.DataFrame({IDENTIFIER: ["a"], MEANT: [meant]}, schema={IDENTIFIER: pl.String, MEANT: pl.String})
    return Claim(code, names, START, END, DAY, Catalog(meters=meters))


def row(**changes: Any) -> dict[str, Any]:
    """A sound row of a file that was written a minute before the window."""
    return {
        IDENTIFIER: "a",
        "timestamp": AN_HOUR_AGO,
        "event_name": "tokens",
        "payload_stripe_customer_id": "cus_1",
        "payload_value": "5",
        WRITTEN: START - timedelta(minutes=1),
        ROW: 1,
        SOURCE: "usage.csv",
        UNREADABLE: None,
        **changes,
    }


def rows(*given_rows: dict[str, Any]) -> pl.DataFrame:
    columns = dict.fromkeys(name for one in given_rows for name in one)
    return pl.DataFrame(list(given_rows), schema={name: dtype_of(name) for name in columns})


def why_not(code: str, one: dict[str, Any], **options: Any) -> str | None:
    answer: str | None = claim(code, **options).judge(rows(one))[WHY_NOT].item()
    return answer


UNSEEN = [Code.CUSTOMER_NOT_FOUND, Code.ARCHIVED_METER, Code.NO_METER, Code.DIMENSION_COUNT_TOO_HIGH, "a_new_code"]


@pytest.mark.parametrize("code", UNSEEN)
def test_what_may_have_been_mended_since_speaks_against_no_row(code: str) -> None:
    """The customer exists by now, so its usage would be called unfindable and stay unbilled."""
    assert why_not(code, row()) is None


@pytest.mark.parametrize("code", [*Code, "a_new_code"])
def test_a_row_of_another_event_name_is_never_the_refused_one(code: str) -> None:
    """5,000 tokens were billed; a refusal on another meter would bill them again."""
    told = why_not(code, row(payload_value="x", payload_stripe_customer_id=None, event_name="calls"))
    assert told == "the report is of tokens"


@pytest.mark.parametrize("code", [*Code, "a_new_code"])
def test_a_report_that_does_not_say_of_which_event_name_it_is_claims_nothing(code: str) -> None:
    assert "does not say" in (why_not(code, row(payload_value="x"), meant=None) or "")


@pytest.mark.parametrize(
    ("written", "may"),
    [
        (START - timedelta(minutes=1), True),
        (START - DAY, True),
        (START - DAY - timedelta(seconds=1), False),
        (START - timedelta(days=7), False),
        (START, True),
        (END, True),
        (END + timedelta(seconds=1), False),
        (END + timedelta(days=1), False),
        (START - timedelta(hours=23), True),
        (START - timedelta(days=35), False),
        (None, False),
    ],
)
def test_only_a_file_that_can_have_been_validated_then_is_meant(written: datetime | None, may: bool) -> None:
    """Senders count anew every day: last week's record 17 was billed, today's was refused."""
    assert (why_not(Code.CUSTOMER_NOT_FOUND, row(**{WRITTEN: written})) is None) is may


@pytest.mark.parametrize(
    ("code", "changes", "shown"),
    [
        (Code.NO_CUSTOMER_DEFINED, {}, False),
        (Code.NO_CUSTOMER_DEFINED, {"payload_stripe_customer_id": None}, True),
        (Code.NO_CUSTOMER_DEFINED, {"payload_stripe_customer_id": " "}, True),
        (Code.CUSTOMER_NOT_FOUND, {"payload_stripe_customer_id": ""}, False),
        (Code.CUSTOMER_NOT_FOUND, {"payload_stripe_customer_id": " cus_1"}, True),
        (Code.VALUE_NOT_FOUND, {}, False),
        (Code.VALUE_NOT_FOUND, {"payload_value": None}, True),
        (Code.INVALID_VALUE, {}, False),
        (Code.INVALID_VALUE, {"payload_value": "1,5"}, True),
        (Code.INVALID_VALUE, {"payload_value": "0.10"}, False),
        (Code.VALUE_TOO_MANY_DIGITS, {"payload_value": "1234567890.1234567"}, True),
        (Code.VALUE_TOO_MANY_DIGITS, {"payload_value": "1234567890"}, False),
        (Code.TIMESTAMP_TOO_FAR_IN_PAST, {}, False),
        (Code.TIMESTAMP_TOO_FAR_IN_PAST, {"timestamp": str(int((START - 36 * DAY).timestamp()))}, True),
        (Code.TIMESTAMP_TOO_FAR_IN_PAST, {"timestamp": str(int((END - 35 * DAY).timestamp()) - 1)}, True),
        (Code.TIMESTAMP_TOO_FAR_IN_PAST, {"timestamp": "2026-11-20T10:00:00Z"}, False),
        (Code.TIMESTAMP_TOO_FAR_IN_PAST, {"timestamp": "2026-09-20T10:00:00Z"}, True),
        (Code.TIMESTAMP_TOO_FAR_IN_PAST, {"timestamp": "long ago"}, True),
        (Code.TIMESTAMP_IN_FUTURE, {}, False),
        (Code.TIMESTAMP_IN_FUTURE, {"timestamp": str(int(START.timestamp()) + 3600)}, True),
        (Code.TIMESTAMP_IN_FUTURE, {"timestamp": f"{AN_HOUR_AGO}000"}, True),
        (Code.MISSING_DIMENSION_PAYLOAD_KEYS, {}, True),
    ],
)
def test_the_fault_that_stripe_names_must_be_there_to_see(code: str, changes: dict[str, Any], shown: bool) -> None:
    assert (why_not(code, row(**changes)) is None) is shown


def test_a_row_that_has_the_meters_dimensions_was_not_refused_for_them() -> None:
    meter = Meter("tokens", active=True, dimensions=("payload_region",))
    code = Code.MISSING_DIMENSION_PAYLOAD_KEYS
    assert why_not(code, row(payload_region="eu"), meters=(meter,)) is not None
    assert why_not(code, row(payload_region=None), meters=(meter,)) is None


FAULTS: dict[Code, dict[str, Any]] = {
    Code.CUSTOMER_NOT_FOUND: {"payload_stripe_customer_id": "cus_gone"},
    Code.NO_CUSTOMER_DEFINED: {"payload_stripe_customer_id": None},
    Code.INVALID_VALUE: {"payload_value": "+5"},
    Code.VALUE_NOT_FOUND: {"payload_value": None},
    Code.TIMESTAMP_IN_FUTURE: {"timestamp": str(int(START.timestamp()) + 3600)},
    Code.TIMESTAMP_TOO_FAR_IN_PAST: {"timestamp": str(int((START - 36 * DAY).timestamp()))},
}
accepted = st.fixed_dictionaries({
    "event_name": st.sampled_from(["tokens", "calls"]),
    "payload_value": st.sampled_from(["5", "7"]),
    WRITTEN: st.sampled_from([END + DAY, START - 2 * DAY, START - 7 * DAY, START - timedelta(minutes=1)]),
})  # fmt: skip


@given(code=st.sampled_from(list(FAULTS)), others=st.lists(accepted, max_size=4), is_there=st.booleans())
def test_no_accepted_row_is_ever_claimed_for_the_refused_one(
    code: Code, others: list[dict[str, Any]], is_there: bool
) -> None:
    """Stripe holds an identifier for a day: what it accepted under it was of another meter, day or fault."""
    cannot_be_told: dict[str, Any] = {"event_name": "tokens", WRITTEN: START - timedelta(minutes=1)}
    sound = [
        row(**one) for one in others if code != Code.CUSTOMER_NOT_FOUND or not cannot_be_told.items() <= one.items()
    ]
    refused = [row(**FAULTS[code], **{ROW: 99})] if is_there else []
    judged = claim(code).judge(rows(*sound, *refused, row(identifier="z")))
    found = settle(wanted(["a"]), judged.filter(pl.col(WHY_NOT).is_null(), pl.col(IDENTIFIER) == "a"))
    assert found.ambiguous == ()
    assert found.records[ROW].to_list() == [one[ROW] for one in refused]
