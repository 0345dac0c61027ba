"""Files of well-known kinds that are sent in place of usage text: what they are, and what helps."""

import re
from typing import Final

from workers.kernel.errors import FileUnusable

_ZIP: Final = rb"PK\x03\x04.*?"
_WORKBOOK: Final = re.compile(_ZIP + rb"xl/(?:_rels|workbook|worksheets|styles|theme|sharedStrings)", re.DOTALL)
"""A ZIP archive with names that are in a workbook."""
_BINARY_WORKBOOK: Final = re.compile(_ZIP + rb"xl/workbook\.bin", re.DOTALL)
_KINDS: Final = (
    (_BINARY_WORKBOOK, "a binary Excel workbook", "save it as CSV or .xlsx"),
    (re.compile(_ZIP + rb"word/document\.xml", re.DOTALL), "a Word document", "export the data behind it as CSV"),
    (re.compile(_ZIP + rb"opendocument\.spreadsheet", re.DOTALL), "an OpenDocument spreadsheet", "save it as CSV"),
    (
        re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        "an old Office file such as .xls, or one with a password",
        "save it as CSV or .xlsx, without a password",
    ),
    (re.compile(_ZIP, re.DOTALL), "a ZIP archive", "unpack it"),
    (re.compile(rb"PAR1[\x00-\x1f]"), "a Parquet file", "export it as CSV"),
    (re.compile(rb"%PDF-"), "a PDF document", "export the data behind it as CSV"),
    (re.compile(rb"BZh[1-9]1AY&SY"), "packed with bzip2", "unpack it"),
    (re.compile(rb"\xfd7zXZ\x00"), "packed with xz", "unpack it"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "a 7-Zip archive", "unpack it"),
    (re.compile(rb".{257}ustar", re.DOTALL), "a tar archive", "unpack it"),
    (re.compile(rb"SQLite format 3\x00"), "an SQLite database", "export the table as CSV"),
    (re.compile(rb"ARROW1\x00\x00"), "an Arrow file", "export it as CSV"),
    (re.compile(rb"Obj\x01"), "an Avro file", "export it as CSV"),
)
"""How such a file begins, what it is, and what helps."""


def is_workbook(head: bytes) -> bool:
    """Tell by the file's first bytes whether it is an Excel workbook that can be read."""
    return _WORKBOOK.match(head) is not None and _BINARY_WORKBOOK.match(head) is None


def require_no_other(head: bytes, name: str) -> None:
    """Raise FileUnusable where the file's first bytes are those of another well-known kind of file."""
    for beginning, what, mend in _KINDS:
        if beginning.match(head):
            raise FileUnusable(f"it is {what}", where=name, mend=mend)
