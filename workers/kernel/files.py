"""Files: their checksum, how one is written whole or not at all, and the names of those that we submit."""

import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from workers.kernel.errors import Permanent

PREFIX: Final = "metermend-"
"""Every file that we write into a connector's folder starts so; no usage of the sender's does."""

UNFINISHED: Final = ".tmp"
"""Files under work are hidden and end in this, so no reader of a directory takes them for usage files."""

_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_OURS: Final = re.compile(rf"{PREFIX}(?P<submission_id>.+?)(?:-p(?P<part>[1-9]\d*))?\.(?:csv|json|jsonl)")


def file_name(submission_id: str, part: int = 1) -> str:
    """Return the name of a submission's file, with `-p2`, `-p3`, … from the second part on."""
    return f"{PREFIX}{submission_id}{f'-p{part}' if part > 1 else ''}.csv"


def submission_of(name: str) -> str | None:
    """Return the id of the submission that a file of ours carries, in any folder; None for other files."""
    match = _OURS.fullmatch(PurePosixPath(name).name)
    return match["submission_id"] if match else None


def part_of(name: str) -> int | None:
    """Return which file of its submission a file of ours is, from 1; None for other files."""
    match = _OURS.fullmatch(PurePosixPath(name).name)
    return int(match["part"] or 1) if match else None


def is_ours(name: str) -> bool:
    """Whether a file's base name is one that only we write."""
    return PurePosixPath(name).name.startswith(PREFIX)


def kept_name(case_id: str, label: str, path: Path, sha256: str) -> str:
    """Return what a file of a case is called in the archive: its name holds its digest, so that none is replaced.

    Raises Permanent where the case's id or the label could lead elsewhere.
    """
    suffixes = path.suffixes[-2:] if path.suffix in {".gz", ".zst"} else path.suffixes[-1:]
    return f"{case_folder(case_id)}/{_word(label)}-{sha256[:16]}{''.join(suffixes)}"


CASES: Final = "cases/"
"""The folder of the archive below which everything lies."""


def case_folder(case_id: str) -> str:
    """Return the folder of a case in the archive."""
    return f"{CASES}{_word(case_id)}"


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise Permanent(f"{text!r} is no case id or label: letters, digits, '_', '.' and '-' only")
    return text


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def unfinished(target: Path) -> Iterator[Path]:
    """Name a hidden file beside `target` for the writing; it is gone afterwards, whatever happened."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}{UNFINISHED}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Name a file to write to, which takes the place of `target` when the block ends well."""
    with unfinished(target) as temporary:
        yield temporary
        temporary.replace(target)
