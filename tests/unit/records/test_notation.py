"""What the rows of a file tell about each other. Evidence that is missed is a bill a thousand times wrong."""

from functools import reduce

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.records.catalog import VALUE_COLUMN
from workers.records.notation import COMMA_SHOWN, POINT_SHOWN, Evidence, evidence_in, weigh
from workers.records.schema import CUSTOMER, EVENT_NAME, EVIDENCE, VALUE

COMMA = [
    "12,5", "1.234,50", "12.345.678", "0,234", "1234,567", "-12,5", "1 234,5", "1\u202f234,5", "1'234,5", "12,5 GB",
    "€ 12,5", "1,5E+3", "12,3456", "\uff11\uff12\uff0c\uff15", " 12,5 ", "1.234.567,8",
    "ca. 12,5", "Fr. 12,50", "Rs. 12,50", "Fr.12,50", "CHF: 12,5", "Q3: 12,5", "netto, 12,5",
    "approx. \u20ac 1.234,50", "Std. 1 234,5", "1. 12,5", "3 12,5",
    "1,5 / 2", "2 / 1,5", "12,5;13", "13;12,5", "12,5|7", "2 x 12,5",
    "3x12,5", "10-12,5",
    "12,5\u201313", "12,5 (2 users)", "12,5 GB of 100", "2026-11: 12,5", "12,5 m2", "m2 12,5", "12,5.", "'12,5",
    "12,5 + 1.234", "1.234 + 12,5", "12,5 (19%)", "Rs. -12,50", "~12,5", "=12,5", "ca.: 12,5", "1,5/2,5/3",
]  # fmt: skip
POINT = [
    "1,234.50",
    "12,345,678",
    "1'234.50",
    "1\u2019234.5",
    "1 234.5",
    "$1,234.50",
    "-1,234,567",
    "1,234,567.8 GB",
    "Rs. 1,234.50",
    "approx. 1,234,567",
    "1,234.50 / 2",
    "7;1,234.50",
    "2 x 1,234,567",
    "US: $1,234.50 (2 seats)",
]
NEITHER = [
    "5", "0.10", "1.234", "1,234", "1 234", "1 234 567", "1'234'567", "1,2,3", "2026-11-19 12:00:00,123",
    "10.0.0.1", "eu-west-1", "1e3", "12,34,567", "", None,
    "ca. 1,234", "Rs. 1.234", "1,234 / 2", "1,2,3;4", "12:00:00,12", "at 12:00:00,123 UTC", "12, 5", "12, 5, 13",
    "12,5,13",
    "12,5 13", "1,5, 2", "a,12,5", "1.12,5", "12,5.3", "12,5:30", "ca. 1234", "5'12,5", "2 1,234", "1.234;1,234",
]  # fmt: skip


def values(*texts: str | None, name: str = "api_calls") -> pl.DataFrame:
    schema = {EVENT_NAME: pl.String, VALUE: pl.String}
    return pl.DataFrame({EVENT_NAME: [name] * len(texts), VALUE: texts}, schema=schema)


@pytest.mark.parametrize(
    ("text", "mark"),
    [*((text, ",") for text in COMMA), *((text, ".") for text in POINT), *((text, None) for text in NEITHER)],
)
def test_a_text_shows_the_decimal_mark_only_if_no_other_fits(text: str | None, mark: str | None) -> None:
    shown = evidence_in(values("7", text, "8")).shown("api_calls", [VALUE])
    assert shown == ({mark: text} if mark else {})


TEXTS = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([*COMMA, *POINT, *NEITHER])), max_size=12)


@given(st.lists(TEXTS, min_size=1, max_size=4), st.randoms())
def test_evidence_is_the_same_for_any_cut_of_a_file(parts: list[list[tuple[str, str]]], order: object) -> None:
    """A plan that hangs on where a file was cut could be undone by nobody."""
    schema = {EVENT_NAME: pl.String, VALUE: pl.String}
    frames = [pl.DataFrame(part, schema=schema, orient="row") for part in parts]
    found = [evidence_in(frame) for frame in frames]
    order.shuffle(found)  # type: ignore[attr-defined]
    text = reduce(Evidence.__add__, found, Evidence()).text
    assert text == evidence_in(pl.concat(frames)).text
    assert text is None or Evidence.of_text(text).text == text


def test_evidence_is_kept_apart_by_event_name() -> None:
    """One department's commas must not hold up another one's usage in the same file."""
    evidence = evidence_in(pl.concat([values("12,5", name="tokens"), values("1.5", name="api_calls")]))
    assert evidence.shown("tokens", [VALUE]) == {",": "12,5"}
    assert evidence.shown("api_calls", [VALUE]) == {}


def test_evidence_of_too_many_event_names_is_held_against_all() -> None:
    """A file with ever new event names would be a text that no memory holds; what is forgotten bills wrongly."""
    many = pl.DataFrame({EVENT_NAME: [f"name-{n}" for n in range(5000)], VALUE: ["12,5"] * 5000})
    evidence = evidence_in(many)
    assert len(evidence.text or "") < 200
    assert evidence.shown("name-7", [VALUE]) == evidence.shown("another", [VALUE]) == {",": "12,5"}


def test_a_column_with_another_id_than_the_customers_is_a_stranger() -> None:
    frame = pl.DataFrame(
        {
            CUSTOMER: ["cus_A", None, '"cus_B"', "acme"],
            "stripe_account": ["acct_1", "acct_1", "acct_1", None],
            "payload_customer": [None, "cus_C", "cus_B", "cus_D"],
            "payload_account_id": ["", "cus_C", None, "cus_A"],
            EVENT_NAME: ["api_calls"] * 4,
        }
    )
    assert [other for ours, other in evidence_in(frame).strangers if ours == CUSTOMER] == ["stripe_account"]


def test_the_customer_may_stand_under_a_meters_own_key() -> None:
    frame = pl.DataFrame({"payload_tenant": ["cus_A", None], CUSTOMER: ["cus_Z", "cus_Z"], EVENT_NAME: ["a", "a"]})
    assert ("payload_tenant", CUSTOMER) in evidence_in(frame).strangers


def test_a_file_without_evidence_has_no_text() -> None:
    assert evidence_in(values("5", "0.10", "1.234")).text is None
    assert evidence_in(values()).text is None


def test_a_senders_columns_may_be_called_as_the_marks_are() -> None:
    """Taken for a mark that was shown, his text would hold up a quantity, and his column would be gone."""
    evidence = evidence_in(values("12,5"))
    sent = values("1,234").with_columns(
        pl.lit("mine").alias("comma"), pl.lit("mine").alias("point"), pl.lit(evidence.text).alias(EVIDENCE)
    )
    weighed = weigh(sent.with_columns(pl.lit(VALUE).alias(VALUE_COLUMN)), (), {})
    assert weighed.select("comma", "point").row(0) == ("mine", "mine")
    assert weighed.select(COMMA_SHOWN, POINT_SHOWN).row(0) == ("12,5", None)
