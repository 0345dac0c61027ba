"""Excel workbooks: it is what people have. Misread, they bill another number than the sheet shows."""

import gzip
import io
import zipfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import openpyxl
import pytest

from tests.unit.records.reading import HEADER, cells, read_all
from workers.kernel.clock import from_text
from workers.kernel.errors import FileUnusable
from workers.records.files import workbook
from workers.records.files.open import open_file

COLUMNS = HEADER.split(",")


def saved(*rows: Sequence[object], sheets: int = 1) -> bytes:
    book = openpyxl.Workbook()
    for row in (COLUMNS, *rows):
        book.worksheets[0].append(list(row))
    for number in range(1, sheets):
        book.create_sheet(f"Notes {number}").append(["nothing"])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def complaint(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "usage.xlsx"
    path.write_bytes(data)
    with pytest.raises(FileUnusable) as caught:
        open_file(path)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def told(tmp_path: Path, data: bytes) -> dict[str, str]:
    path = tmp_path / "usage.xlsx"
    path.write_bytes(data)
    with open_file(path) as file:
        return {finding.slug: finding.text for finding in file.layout.findings}


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (0.1, "0.1"),
        (5, "5"),
        (5.0, "5"),
        (-2.5, "-2.5"),
        (1795089600, "1795089600"),
        (0.00001, "0.00001"),
        (1e19, "10000000000000000000"),
        (1e300, "1e+300"),
        ("0012", "0012"),
        ("a,b", "a,b"),
        ("two\nlines", "two\nlines"),
        (True, "true"),
        (from_text("2026-11-19T12:00:00Z").replace(tzinfo=None), "2026-11-19T12:00:00"),
        (date(2026, 11, 19), "2026-11-19T00:00:00"),
    ],
)
def test_a_cell_reads_as_what_it_holds(cell: object, text: str) -> None:
    assert cells(read_all(saved(["a", cell, "calls", "cus_1", "1"]), "usage.xlsx"))[0][1] == text


def test_the_first_sheet_is_read_and_rows_that_are_empty_are_none() -> None:
    data = saved(["a", 1, "calls", "cus_1", 1], [], ["b", 2, "calls", None, 2], [None] * 5, sheets=3)
    expected = [("a", "1", "calls", "cus_1", "1"), ("b", "2", "calls", None, "2")]
    assert cells(read_all(data, "usage.xlsx")) == expected
    assert cells(read_all(gzip.compress(data), "usage.xlsx.gz")) == expected


def test_what_is_read_of_it_is_said(tmp_path: Path) -> None:
    found = told(tmp_path, saved(["a", 1, "calls", "cus_1", 1], sheets=2))
    assert found == {"workbook": "is an Excel workbook, read by its first sheet, 'Sheet', of 2"}


@pytest.mark.parametrize("identifier", [1234567890123456, 1234567890123450, 10**19, 0.1234567890123456])
def test_a_number_that_excel_may_have_rounded_is_said(tmp_path: Path, identifier: float) -> None:
    """Two identifiers of 16 digits may be one number to Excel, and Stripe counts only one of them."""
    found = told(tmp_path, saved([identifier, 1, "calls", "cus_1", 1], ["b", 2, "calls", "cus_1", 123456789012345]))
    assert found["rounded_numbers"] == "numbers of more than 15 digits, which Excel may have rounded: 1"


def test_without_the_extra_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "find_spec", lambda name: None)
    assert complaint(tmp_path, saved()) == (
        "usage.xlsx: it is an Excel workbook, and openpyxl is not installed - "
        "pip install 'metermend[excel]', or save it as CSV"
    )


def parts(**changed: bytes) -> bytes:
    """Return a workbook with some of the files in it replaced, each named without its folder and ending."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved(["a", 1, "calls", "cus_1", 1]))) as whole,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in whole.namelist():
            archive.writestr(name, changed.get(Path(name).stem, whole.read(name)))
    return stream.getvalue()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    assert "unpacks to more than 67,108,864 bytes" in complaint(tmp_path, parts(theme1=bytes(80 << 20)))


def test_a_row_beyond_the_end_of_any_sheet_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MAX_ROWS", 1000)
    sheet = b'<worksheet><sheetData><row r="99999999"><c r="A99999999"><v>1</v></c></row></sheetData></worksheet>'
    namespace = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    bomb = parts(sheet1=sheet.replace(b"<worksheet>", namespace))
    assert "its sheet has more than 1,000 rows" in complaint(tmp_path, bomb)


@pytest.mark.parametrize(
    "data",
    [
        saved()[:-100],
        saved()[: len(saved()) // 2],
        parts(sheet1=b"<worksheet"),
        parts(workbook=b"not xml"),
        parts(styles=b""),
    ],
)
def test_a_broken_workbook_is_one_clear_line(tmp_path: Path, data: bytes) -> None:
    assert "it is an Excel workbook that cannot be read (" in complaint(tmp_path, data)
