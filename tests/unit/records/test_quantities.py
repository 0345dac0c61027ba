"""Reading quantities: exactly one reading, or none. A wrong reading is a wrong invoice."""

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.records import quantities
from workers.records.quantities import Notation, read

ODD = st.text(max_size=24) | st.text(alphabet="0123456789.,-+ eE'\u00a0\u202f\u0663\uff11\u2212\"", max_size=16)


@given(ODD)
def test_whatever_is_read_is_a_plain_decimal_that_reads_as_itself(text: str) -> None:
    reading = read(text)
    assert (reading.text is None) != (reading.doubt is None)
    if reading.text is not None:
        assert pl.select(quantities.is_plain(pl.lit(reading.text))).item()
        assert read(reading.text).text == reading.text


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9))
def test_a_plain_decimal_keeps_its_amount_to_the_last_digit(amount: Decimal) -> None:
    reading = read(f"{amount:f}").text
    assert reading is not None
    assert Decimal(reading) == amount


@given(st.integers(10**6, 10**14), st.sampled_from([",", ".", " ", "'", "\u202f"]))
def test_two_groups_prove_themselves(amount: int, mark: str) -> None:
    assert read(f"{amount:,}".replace(",", mark)).text == str(amount)


@given(st.integers(1000, 999_999), st.sampled_from([",", " ", "'", "\u202f"]))
def test_one_group_never_does(amount: int, mark: str) -> None:
    """1,234 is 1234 to one sender and 1.234 to another: a factor of a thousand on an invoice."""
    assert read(f"{amount:,}".replace(",", mark)).text is None


@given(
    st.lists(ODD, max_size=10), st.sampled_from([Notation(), Notation(decimal_comma=True), Notation(units=("GB",))])
)
def test_the_vectorised_reading_is_the_reading(texts: list[str], notation: Notation) -> None:
    table = quantities.read_distinct(pl.Series(texts, dtype=pl.String), notation)
    found = {text: read_as for text, *read_as in table.iter_rows()}
    assert found == {text: [(r := read(text, notation)).text, r.doubt, r.mark] for text in texts}


@given(ODD)
def test_bare_text_is_the_same_in_python_and_vectorised(text: str) -> None:
    assert pl.select(quantities.bare_text(pl.lit(text))).item() == quantities.bare(text)


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=3).map(lambda a: f"{a:f}") | st.none()))
def test_the_total_is_exact(texts: list[str | None]) -> None:
    """Ten million values of a tenth must not come to 999,999.9."""
    amounts = [Decimal(text) for text in texts if text is not None]
    assert quantities.total(pl.Series(texts, dtype=pl.String)) == quantities.add(*amounts)


def test_the_total_of_long_and_short_texts_is_exact() -> None:
    texts = ["0.00000000000000000001", "99999999999999999999", "0.1", "9999999999999999", None]
    assert quantities.total(pl.Series(texts)) == Decimal("100009999999999999998.10000000000000000001")
    assert quantities.total(pl.Series([], dtype=pl.String)) == 0


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("1,5", "1.5"),
        ("1.234,5", "1234.5"),
        ("1.234.567", "1234567"),
        ("12", "12"),
        ("1.5", None),
        ("1.234", None),
        ("1,234.5", None),
        ("1,5E+3", "1500"),
        ("25E+2", "2500"),
        ("1,2E+11", None),
        ("1,2,3", None),
    ],
)
def test_with_a_decimal_comma_by_rule(text: str, reading: str | None) -> None:
    """`1.234` is 1234 to a sender who writes 1,5; the rule makes it doubtful, not plain."""
    assert read(text, Notation(decimal_comma=True)).text == reading


POINTS, GROUPS, COMMAS = Notation(decimal_comma=False), Notation(thousands="."), Notation(decimal_comma=True)
DOLLARS = Notation(thousands=",")


@pytest.mark.parametrize(
    ("text", "notation", "doubt"),
    [
        ("1,5", POINTS, "1,5 does not fit the rule decimal_comma = false"),
        ("1.234,5", POINTS, "1.234,5 does not fit the rule decimal_comma = false"),
        ("1,234", POINTS, "1,234 could be 1234 (rule thousands)"),
        ("1.5 GB", POINTS, "1.5 GB carries a unit (rule strip_units)"),
        ("12,5 GB", POINTS, "12,5 GB carries a unit (rule strip_units)"),
        ("1.234 GB", GROUPS, "1.234 GB carries a unit (rule strip_units)"),
        ("(5)", GROUPS, "(5) may be a negative quantity in an accountant's notation"),
        ("5-", DOLLARS, "5- may be a negative quantity in an accountant's notation"),
        ("many", GROUPS, "many is not a number"),
        ("", DOLLARS, "there is no value"),
        ("12,5", DOLLARS, "12,5 does not fit the rule thousands = ','"),
        ("12.5", GROUPS, "12.5 does not fit the rule thousands = '.'"),
        ("12,5 GB", COMMAS, "12,5 GB carries a unit (rule strip_units)"),
        ("1,234.50", COMMAS, "1,234.50 does not fit the rule decimal_comma"),
    ],
)
def test_a_person_is_told_the_cause_for_which_a_quantity_waits(text: str, notation: Notation, doubt: str) -> None:
    """Told to write the rule that is there, or to mend one that is right, nobody gets the record billed."""
    assert read(text, notation).doubt == doubt


@pytest.mark.parametrize(
    ("text", "stripped"),
    [("007", "7"), ("1.500", "1.5"), ("3.0", "3"), ("-0.10", "-0.1"), ("100", "100"), ("0.0", "0"), ("0", "0")],
)
def test_idle_zeros_go_and_others_stay(text: str, stripped: str) -> None:
    assert pl.select(quantities.strip_idle_zeros(pl.lit(text))).item() == stripped


@pytest.mark.parametrize(
    ("text", "digits"),
    [("123456789012345", 15), ("-1.50", 3), ("0.00123", 3), ("007", 1), ("1000000000000000", 16), ("0", 0)],
)
def test_significant_digits_are_counted_as_stripe_counts_them(text: str, digits: int) -> None:
    assert pl.select(quantities.significant_digits(pl.lit(text))).item() == digits


@pytest.mark.parametrize(
    ("rounding", "rounded"), [("ROUND_HALF_EVEN", "1.2"), ("ROUND_UP", "1.3"), ("ROUND_HALF_UP", "1.3")]
)
def test_rounding_follows_the_mode(rounding: str, rounded: str) -> None:
    assert quantities.round_to("1.25", 2, rounding) == rounded


def test_amounts_are_shown_without_exponent_and_idle_zeros() -> None:
    assert [quantities.to_text(Decimal(text)) for text in ("1E+3", "0.10", "-0", "5.000")] == [
        "1000",
        "0.1",
        "0",
        "5",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "1\u06622",
        "1\u0662",
        "\uff112",
        "\u0661\u06f2",
        "1.\u0665",
        "1,234,56\u0967",
        "\u0967\uff11",
        "1e\u0663",
        "-1\u0662",
        " 1\u0662 ",
        "\u0e51\u0662",
        "0\u0660",
    ],
)
def test_digits_of_two_scripts_are_no_number(text: str) -> None:
    """Where an Arabic 2 stands between two others, something went wrong, and nobody knows what."""
    assert read(text).text is None
    assert "more than one script" in (read(text).doubt or "")


@pytest.mark.parametrize("zero", [0x30, 0x660, 0x6F0, 0x966, 0xE50, 0xFF10])
def test_digits_of_one_script_are(zero: int) -> None:
    assert read("".join(chr(zero + digit) for digit in (1, 2, 0))).text == "120"


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("25E+2", "2500"),
        ("25e+2", "2500"),
        ("1.5E3", "1500"),
        ("1.5e3", "1500"),
        ("1E+3", "1000"),
        ("12E10", "120000000000"),
        ("5E-3", "0.005"),
        ("-25E+2", "-2500"),
        ("1.25E+1", "12.5"),
        ("100E-2", "1"),
        ("1.2E+11", None),
        ("1E+05", None),
        ("1E+31", None),
        ("99E99", None),
        ("1E-40", None),
        ("1E+100", None),
        ("E+2", None),
        ("2E", None),
        ("1,5E+2", None),
    ],
)
def test_an_exact_exponent_is_read_in_either_case_and_a_spreadsheets_is_not(text: str, reading: str | None) -> None:
    """1.2E+11 may have been 123,456,789,012 before a spreadsheet saved it; 25E+2 was never anything but 2500."""
    assert read(text).text == reading
