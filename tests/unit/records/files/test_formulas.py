"""What a person opens must not run: a file of refused usage is written by whoever sent the usage."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.records.files.write import for_spreadsheet, is_formula


def shown(text: str | None) -> str | None:
    """Return the cell as it is written for a person."""
    frame = pl.DataFrame({"cell": [text]}, schema={"cell": pl.String})
    result: str | None = frame.select(for_spreadsheet(pl.col("cell"))).item()
    return result


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("http://127.0.0.1/x","y")',
        "=1+1",
        "+cus_Ax1",
        "@SUM(A1)",
        "-2+3+cmd|' /C calc'!A0",
        "-1-2",
        "--5",
        "-",
        "+1.5e3x",
        "  =1+1",
        "\t=1+1",
        "\r=1+1",
        "\n@SUM(A1)",
        "\ttext",
        "\uff1d1+1",
        "\uff0b1\uff0b1x",
        "-5%",
        "=5",
    ],
)
def test_a_cell_that_would_run_begins_with_an_apostrophe(text: str) -> None:
    """Or opening quarantine.csv runs what the sender of a record wrote, on the operator's machine."""
    assert shown(text) == f"'{text}"


@pytest.mark.parametrize(
    "text",
    [None, "", "5", "-5", "+5", " -5 ", "-1.5", "-1,234.50", "1.234,5", "-.5", "2e3", "-2E-3", "cus_Ax1", "a=b",
     "2026-11-20T12:00:00Z", "'", "\t5"],
)  # fmt: skip
def test_numbers_and_other_texts_stay_as_they_are(text: str | None) -> None:
    """A spreadsheet has to sum up the quantities that wait, and -5 is one of them."""
    assert shown(text) == text


@given(st.text())
def test_nothing_but_a_leading_apostrophe_is_ever_added(text: str) -> None:
    """The person must see what the sender wrote, so that taking away one character gives it back."""
    written = shown(text)
    assert written in {text, f"'{text}"}
    again = pl.DataFrame({"cell": [written]}, schema={"cell": pl.String})
    assert not again.select(is_formula(pl.col("cell"))).item()
