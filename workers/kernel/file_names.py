"""The names of the files that we submit: how they are made, and how one is known again when it comes back."""

import re
from pathlib import PurePosixPath
from typing import Final

PREFIX: Final = "metermend-"
"""Every file that we write into a connector's folder starts so; no usage of the sender's does."""

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
