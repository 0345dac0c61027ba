"""Files of well-known kinds that are sent in place of usage text: what they are, and what helps."""

import re
from typing import Final

from workers.kernel.errors import FileUnusable

_WORKBOOK: Final = ("an Excel workbook", "save it as CSV")
_MEMBER: Final = rb"(?:\[Content_Types\]\.xml|xl/(?:_rels|workbook|worksheets|styles))"
"""A name in the ZIP archive that a workbook is."""
_KINDS: Final = (
    (re.compile(rb"PK\x03\x04.*?" + _MEMBER, re.DOTALL), *_WORKBOOK),
    (re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), *_WORKBOOK),
    (re.compile(rb"PK\x03\x04"), "a ZIP archive", "unpack it"),
    (re.compile(rb"PAR1[\x00-\x1f]"), "a Parquet file", "export it as CSV"),
    (re.compile(rb"%PDF-"), "a PDF document", "export the data behind it as CSV"),
)
"""How such a file begins, what it is, and what helps."""


def require_no_other(head: bytes, name: str) -> None:
    """Raise FileUnusable where the file's first bytes are those of another well-known kind of file."""
    for beginning, what, mend in _KINDS:
        if beginning.match(head):
            raise FileUnusable(f"it is {what}", where=name, mend=mend)
