"""Recognising failed-records files: taken for a usage file, what Stripe counted would be sent again."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from workers.kernel.codes import MALFORMED_RECORD, Code
from workers.kernel.errors import FileUnusable
from workers.kernel.reasons import ALREADY_EXISTS
from workers.records.files.layout import ReadOptions
from workers.records.files.open import open_file
from workers.reports.failed_records import FailureColumns, annotate, failure_columns, given_row, recognise

RECORD = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value"


def found(tmp_path: Path, header: str, options: ReadOptions | None = None) -> FailureColumns | None:
    path = tmp_path / "file.csv"
    path.write_text(f"{header}\n" + ",".join("x" for _ in header.split(",")) + "\n")
    with open_file(path) as file:
        return recognise(file, options)


@pytest.mark.parametrize(
    ("extra", "columns"),
    [
        ("error_message", FailureColumns(message="error_message")),
        ("row,Failure Reason", FailureColumns(message="Failure Reason", row="row")),
        ("error_code,error", FailureColumns(code="error_code", message="error")),
        ("row,rejection_reason", FailureColumns(message="rejection_reason", row="row")),
    ],
)
def test_the_columns_are_known_by_their_names(tmp_path: Path, extra: str, columns: FailureColumns) -> None:
    assert found(tmp_path, f"{RECORD},{extra}") == columns


@pytest.mark.parametrize("extra", ["", ",note", ",code", ",type", ",payload_error_message"])
def test_a_usage_file_is_none(tmp_path: Path, extra: str) -> None:
    """A sender's own `code` alone, or a payload key, says nothing of a failure."""
    assert found(tmp_path, RECORD + extra) is None


def told(tmp_path: Path, header: str, *texts: str) -> FailureColumns | None:
    path = tmp_path / "file.csv"
    path.write_text(
        f"{RECORD},{header}\n" + "".join(f"a{n},1,calls,cus_1,1,{text}\n" for n, text in enumerate(texts))
    )
    with open_file(path) as file:
        return recognise(file, None)


@pytest.mark.parametrize(
    ("header", "texts"),
    [
        ("reason", ("overage", "base")),
        ("reason", ("", "")),
        ("message", ("invalid", "missing")),
        ("message", ("How many customers do I have?", "What must a value be?")),
        ("error", ("none", "none")),
        ("error", ("timeout", "")),
        ("error_code", ("0", "0")),
        ("error_message", ("", "")),
        ("errors", ("[]", "[]")),
        ("line,message", ("1,hello", "2,the customer called")),
        ("code,reason", ("A1,upgrade", "A2,downgrade")),
        ("failure", ("false", "false")),
    ],
)
def test_a_column_of_the_senders_own_does_not_make_a_usage_file_one(
    tmp_path: Path, header: str, texts: tuple[str, ...]
) -> None:
    """Taken for refusals, all of its usage would be held, and "Stripe refused" would be false."""
    assert told(tmp_path, header, *texts) is None


@pytest.mark.parametrize(
    ("header", "texts"),
    [
        ("reason", ("no_meter", "timestamp_in_future: too far ahead")),
        (
            "message",
            ("No meter was found matching event_name calls.", "An event already exists with identifier a1."),
        ),
        ("error", ("Invalid timestamp", "customer not found")),
        ("failure", ("timestamp: must be epoch seconds", "value is not a number")),
        ("code,message", ("archived_meter,x", "no_meter,y")),
        ("error_message", ("must be seconds", "whatever Stripe says")),
        ("error_code", ("brand_new", "other")),
        ("Failure Reason", ("a", "b")),
    ],
)
def test_a_file_that_tells_a_refusal_on_every_row_is_one(
    tmp_path: Path, header: str, texts: tuple[str, ...]
) -> None:
    assert told(tmp_path, header, *texts) is not None


CODES_OF_STRIPE = ("meter_event_customer_not_found", "no_meter")


@pytest.mark.parametrize(
    ("header", "texts", "columns"),
    [
        ("code", CODES_OF_STRIPE, FailureColumns(code="code")),
        ("Code", CODES_OF_STRIPE, FailureColumns(code="Code")),
        ("why", CODES_OF_STRIPE, FailureColumns(code="why")),
        ("status", (" no_meter ", "archived_meter"), FailureColumns(code="status")),
        ("note,code", ("mine,no_meter", "mine too,no_meter"), FailureColumns(code="code")),
        ("stripe,row", ("no_meter,7", "no_meter,9"), FailureColumns(code="stripe", row="row")),
        ("stripe,error_message", ("no_meter,x", "no_meter,y"), FailureColumns("stripe", "error_message")),
        ("error_type,stripe", ("data,no_meter", "data,no_meter"), FailureColumns("stripe", "error_type")),
        ("stripe,error_code", ("no_meter,no_meter", "no_meter,no_meter"), FailureColumns(code="error_code")),
        ("code", ("no_meter", "a_code_of_tomorrow"), FailureColumns(code="code")),
        ("detail", ("No meter was found matching event_name a.",) * 2, FailureColumns(message="detail")),
        ("detail", ("no_meter: nothing is called a", "archived_meter: b"), FailureColumns(message="detail")),
    ],
)
@pytest.mark.parametrize("declared", [False, True])
def test_usage_in_a_list_with_stripes_codes_is_not_lost_under_identifiers_that_stripe_holds(
    tmp_path: Path, header: str, texts: tuple[str, ...], columns: FailureColumns, *, declared: bool
) -> None:
    """Whatever the column is called: sent as usage, each record would be skipped as a duplicate of itself."""
    assert told(tmp_path, header, *texts) == columns
    with open_file(tmp_path / "file.csv") as file:
        assert failure_columns(file, ReadOptions(row_column="row") if declared and columns.row else None) == columns


@pytest.mark.parametrize(
    ("header", "texts"),
    [
        ("code", ("a_code_of_mine", "another_one")),
        ("plan", ("no_meter", "Gold")),
        ("code", ("", "")),
        ("payload_code", ("no_meter", "no_meter")),
        ("note", ("see no_meter", "mine")),
    ],
)
def test_usage_with_a_column_that_is_not_all_codes_is_not_held(
    tmp_path: Path, header: str, texts: tuple[str, ...]
) -> None:
    assert told(tmp_path, header, *texts) is None


@pytest.mark.parametrize(
    ("header", "texts"),
    [
        ("error_message", ("must be seconds", "")),
        ("reason", ("no_meter", "base")),
        ("error_code", ("no_meter", "0")),
        ("code", ("no_meter", "")),
        ("why", ("-", "no_meter")),
    ],
)
def test_a_file_in_which_only_some_rows_were_refused_is_one_clear_error(
    tmp_path: Path, header: str, texts: tuple[str, ...]
) -> None:
    """The others may have been counted: sent again, they would be billed twice."""
    with pytest.raises(FileUnusable, match=rf"column '{header}' tells a refusal on 1 of 2 rows - .* --kind usage"):
        told(tmp_path, header, *texts)


def test_a_record_inside_the_row_beside_its_errors_is_repeated(tmp_path: Path) -> None:
    path = tmp_path / "failed.json"
    path.write_text(
        '[{"row": 1, "record": {"timestamp": "x", "event_name": "calls", "payload": {"value": 1}},'
        ' "errors": [{"field": "timestamp", "message": "must be epoch seconds"}]}]'
    )
    with open_file(path) as file:
        assert recognise(file) == FailureColumns(message="errors", row="row")


def test_declared_columns_win(tmp_path: Path) -> None:
    options = ReadOptions(code_column="type", error_column="why")
    assert found(tmp_path, f"{RECORD},error,why,type", options) == FailureColumns(code="type", message="why")


def test_a_declared_column_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable, match=r"file\.csv: there is no column 'why'"):
        found(tmp_path, RECORD, ReadOptions(error_column="why"))


def test_a_file_that_does_not_repeat_the_records_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable, match="does not repeat the records"):
        found(tmp_path, "row,error_message")


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ({"code": "no_meter"}, Code.NO_METER),
        ({"code": "brand_new", "error": "something"}, "brand_new"),
        ({"error": "Customer mapping key stripe_customer_id not found in payload."}, Code.NO_CUSTOMER_DEFINED),
        ({"error": "No meter was found matching event_name a.b."}, Code.NO_METER),
        ({"error": "timestamp_in_future: too far ahead"}, Code.TIMESTAMP_IN_FUTURE),
        ({"error": "An event already exists with identifier a1."}, ALREADY_EXISTS),
        (
            {"error": "The value in the event payload can have at most 15 digits. Received 1234567890123456."},
            Code.VALUE_TOO_MANY_DIGITS,
        ),
        ({"error": "the timestamp could not be parsed"}, MALFORMED_RECORD),
        ({"code": " ", "error": None}, MALFORMED_RECORD),
    ],
)
def test_a_code_is_taken_only_from_a_certain_text(cells: Mapping[str, str | None], code: str) -> None:
    frame = pl.DataFrame({"code": [cells.get("code")], "error": [cells.get("error")]}, schema_overrides=_TEXT)
    annotated = annotate(frame, FailureColumns(code="code", message="error"))
    assert annotated["@code"].item() == code
    assert annotated["@message"].item() == cells.get("error")


def test_the_row_of_the_original_file_is_taken_where_there_is_one() -> None:
    written = ["17", "017", "17.0", "#17", "Row 17", "row #17", " line 17 ", "x", None, "", "1-7", "17.5", "-17"]
    frame = pl.DataFrame({"row": written})
    found = frame.select(given_row(frame, FailureColumns(row="row"))).to_series().to_list()
    assert found == [17] * 7 + [None] * 6


_TEXT = {"code": pl.String, "error": pl.String}
