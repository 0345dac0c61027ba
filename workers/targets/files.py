"""Submitting as files in Stripe's CSV template, into the folder that its S3 connector reads (or a directory).

Each submission has keys of its own, `metermend-{submission id}.csv` and `-p2`, `-p3`, … where it is split, and each
is written only if it is not there yet, so a submission arrives once however often it is tried.

Source: Stripe docs, "Record usage in bulk" (file shape, limits, pace, no empty files).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import polars as pl

from workers.kernel.clock import Clock, utc_now
from workers.kernel.errors import Corrupt, InputUnusable, Paced, Permanent, Transient
from workers.kernel.objects import open_store
from workers.kernel.objects.directory import disk_error
from workers.kernel.submission_files import PREFIX, file_name, submission_of
from workers.records.schema import IDENTIFIER, MAX_FILE_RECORDS
from workers.records.writer import TemplateWriter, WrittenFile
from workers.targets.target import Chunk, Outgoing, Progress, Sent

PACE_SECONDS: Final = 10.0
"""The connector wants a file per 10 seconds or per 1,000,000 records, whichever comes first."""
MAX_BYTES: Final = 256_000_000
"""Bound of one file. Stripe takes 1 GB, but a conditional put passes through memory."""
RESEND_SECONDS: Final = 24 * 3600.0
"""How long Stripe remembers identifiers at least; what was begun longer ago is not begun again blindly."""

_BATCH: Final = 200_000


@dataclass(frozen=True)
class _Piece:
    """One file of a submission; `first` is the row of the record set, from 0, that it begins with."""

    key: str
    first: int
    file: WrittenFile


class FileTarget:
    """Writes submissions below `url`: a directory, `file:///folder` or `s3://bucket/folder`.

    The folder's connector bills `account`, or our own where it is None. `pace_seconds` lie between two submissions,
    judged by the newest file of ours in the folder; two workers that look at the same moment may both write. The
    files of one submission follow each other at once, as full files may.
    """

    name = "files"

    def __init__(
        self,
        url: str,
        *,
        account: str | None = None,
        pace_seconds: float = PACE_SECONDS,
        clock: Clock = utc_now,
    ) -> None:
        self._store = open_store(url)
        self._account = account
        self._pace_seconds = pace_seconds
        self._clock = clock

    def send(self, outgoing: Outgoing, progress: Progress) -> Sent:
        """Write every file of the submission that has not been written yet.

        Files that were begun over `RESEND_SECONDS` ago and are not there come back as `unresolved`: they may have
        been written, read by Stripe and removed since. Raises Transient when the pace, a full disk or the store
        says to wait, and Permanent when the submission is of another account, or a key holds something else.
        """
        if outgoing.account != self._account:
            raise Permanent(
                f"{self._store.url} bills {self._account or 'our own account'}, the usage is of "
                f"{outgoing.account or 'our own'}: name a place for that account in SUBMIT_TO"
            )
        begun = progress.chunks()
        if not begun:
            self._keep_pace()
        with TemporaryDirectory(prefix=PREFIX) as folder:
            pieces = _pieces(outgoing, Path(folder))
            lost = [
                piece
                for number, piece in enumerate(pieces, 1)
                if not self._is_written(piece, number, begun.get(number), progress)
            ]
        unresolved = tuple(name for piece in lost for name in _identifiers(outgoing, piece))
        location = ", ".join(self._store.location(piece.key) for piece in pieces)
        return Sent(location=location, accepted=outgoing.records - len(unresolved), unresolved=unresolved)

    def _keep_pace(self) -> None:
        newest = max((found.last_modified for found in self._store.list(PREFIX)), default=None)
        if newest is None:
            return
        wait = (newest - self._clock()).total_seconds() + self._pace_seconds
        if wait > 0:
            raise Paced(
                f"{self._store.url} takes a file per {self._pace_seconds:g} s",
                retry_after=min(wait, self._pace_seconds),
            )

    def _is_written(self, piece: _Piece, number: int, begun: Chunk | None, progress: Progress) -> bool:
        """Write one file unless that is done already; tell whether it is there, as far as can be told."""
        if begun is not None and begun.result is not None:
            return True
        if begun is None:
            progress.intend(number)
        elif self._is_late(begun) and self._store.head(piece.key) is None:
            return False
        self._put(piece)
        progress.finish(number, {"key": piece.key, "records": piece.file.records, "bytes": piece.file.bytes})
        return True

    def _is_late(self, begun: Chunk) -> bool:
        return self._clock() - begun.intended_at >= timedelta(seconds=RESEND_SECONDS)

    def _put(self, piece: _Piece) -> None:
        """Write a file, or make sure that an earlier try of ours has written just this file."""
        if self._store.put_if_absent(piece.key, piece.file.path):
            return
        there = piece.file.path.with_suffix(".there")
        found = self._store.head(piece.key)
        if found is None:
            raise Transient(f"{self._store.location(piece.key)} was there and is not any more")
        if found.size == piece.file.bytes:
            self._store.get_to_file(piece.key, there, max_bytes=piece.file.bytes)
            if _digest(there) == _digest(piece.file.path):
                return
        raise Permanent(
            f"somebody else wrote {self._store.location(piece.key)}: it has {found.size} bytes and is not the "
            f"submission's file of {piece.file.bytes}; find out who writes names that start with {PREFIX}"
        )


def _pieces(outgoing: Outgoing, folder: Path) -> list[_Piece]:
    """Write the submission's files to local disk: the same records always give the same files."""
    try:
        with TemplateWriter(folder / "part", max_records=MAX_FILE_RECORDS, max_bytes=MAX_BYTES) as writer:
            for frame in _frames(outgoing.record_set):
                writer.append(frame)
            written = writer.close()
    except InputUnusable as error:
        if isinstance(error.__cause__, OSError):
            raise disk_error(error.__cause__, str(folder)) from error
        raise Permanent(str(error)) from error
    pieces, first = [], 0
    for number, file in enumerate(written, 1):
        pieces.append(_Piece(file_name(outgoing.submission_id, number), first, file))
        first += file.records
    if first != outgoing.records or not pieces:
        raise Corrupt(f"{outgoing.submission_id} is to have {outgoing.records} records, its record set has {first}")
    return pieces


def _frames(record_set: Path) -> Iterator[pl.DataFrame]:
    records = pl.scan_parquet(record_set)
    height = records.select(pl.len()).collect().item()
    for first in range(0, height, _BATCH):
        yield records.slice(first, _BATCH).collect()


def _identifiers(outgoing: Outgoing, piece: _Piece) -> list[str]:
    rows = pl.scan_parquet(outgoing.record_set).slice(piece.first, piece.file.records)
    return rows.select(IDENTIFIER).collect().to_series().to_list()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


__all__ = ["FileTarget", "submission_of"]
