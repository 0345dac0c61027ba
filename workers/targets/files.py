"""Submitting as files in Stripe's CSV template, into the folder that its S3 connector reads (or a directory).

Each submission has keys of its own, `metermend-{submission id}.csv` and `-p2`, `-p3`, … where it is split, and each
is written only if it is not there yet, so a submission arrives once however often it is tried.

Source: Stripe docs, "Record usage in bulk" (file shape, limits, pace, no empty files).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import polars as pl

from workers.kernel.clock import STORE_AHEAD, Clock, utc_now
from workers.kernel.errors import Corrupt, InputUnusable, Paced, Permanent, Transient
from workers.kernel.files import PREFIX, file_name, sha256_of
from workers.kernel.storage import open_store
from workers.kernel.storage.directory import disk_error
from workers.records.files.write import TemplateWriter, WrittenFile
from workers.records.schema import IDENTIFIER, MAX_FILE_RECORDS
from workers.targets.target import Chunk, Outgoing, Progress, Rows, Sent, Withheld

PACE_SECONDS: Final = 10.0
"""The connector wants a file per 10 seconds or per 1,000,000 records, whichever comes first."""
MAX_BYTES: Final = 256_000_000
"""Bound of one file. Stripe takes 1 GB, but a conditional put passes through memory."""
KEY: Final = "key"
LOCATION: Final = "location"
"""In a chunk's result, the name of its file and where it lies."""
PUT_AGAIN: Final = "put_again"
"""Says, in a chunk's result, that its file was begun before and not there any more: it may have been read twice."""

_BATCH: Final = 200_000


@dataclass(frozen=True)
class _Piece:
    """One file of a submission, of these rows of its record set; None for one of which nothing may go."""

    key: str
    rows: Rows
    file: WrittenFile | None


class FileTarget:
    """Writes submissions below `url`: a directory, `file:///folder` or `s3://bucket/folder`.

    The folder's connector bills `account`, or our own where it is None. `pace_seconds` lie between two submissions
    where `keep_pace` is asked first, judged by the newest file of ours in the folder; two workers that look at the
    same moment may both write. The files of one submission follow each other at once, as full files may.
    """

    name = "files"
    at_once = False

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
        """Write every file of the submission that has not been written yet, without what must not go any more.

        A file that was begun and is not there may have been written, read by Stripe and removed since. It is
        written again while Stripe still skips its identifiers (`RESEND_WITHIN`) and all of it may go; else its
        records come back as `unresolved`. Raises Transient when a full disk or the store says to wait, and
        Permanent when the submission is of another account, or a key holds something else.
        """
        if outgoing.account != self._account:
            raise Permanent(
                f"{self._store.url} bills {self._account or 'our own account'}, the usage is of "
                f"{outgoing.account or 'our own'}: name a place for that account in SUBMIT_TO"
            )
        begun = progress.chunks()
        withheld: list[Withheld] = []
        unresolved: list[str] = []
        with TemporaryDirectory(prefix=PREFIX) as folder:
            pieces = _pieces(outgoing, Path(folder))
            for number, piece in enumerate(pieces, 1):
                chunk = begun.get(number) or self._begin(piece, number, progress)
                withheld += chunk.withheld
                rest = _without(outgoing, piece, chunk.withheld)
                if chunk.result is None and not self._is_written(rest, number, chunk, progress):
                    unresolved += _identifiers(outgoing, piece.rows, chunk.withheld)
        return Sent(
            location=", ".join(self._store.location(piece.key) for piece in pieces),
            accepted=outgoing.records - len(unresolved) - len(withheld),
            unresolved=tuple(unresolved),
            withheld=tuple(withheld),
        )

    def lies_there(self, name: str) -> bool:
        """Whether a file of that name lies in the folder."""
        return self._store.head(name) is not None

    def keep_pace(self) -> None:
        """Raise Paced where the newest file of ours in the folder is younger than the pace allows."""
        if not self._pace_seconds:
            return
        now = self._clock()
        times = (found.last_modified for found in self._store.list(PREFIX))
        # A file that is dated later says nothing about the pace.
        newest = max((time for time in times if time <= now + STORE_AHEAD), default=None)
        if newest is None:
            return
        wait = (newest - now).total_seconds() + self._pace_seconds
        if wait > 0:
            raise Paced(
                f"{self._store.url} takes a file per {self._pace_seconds:g} s",
                retry_after=min(wait, self._pace_seconds),
            )

    def _begin(self, piece: _Piece, number: int, progress: Progress) -> Chunk:
        """Ask what of a file must not go any more, and commit the intent to write the rest."""
        withheld = progress.may_not_go(piece.rows)
        progress.intend(number, piece.rows, withheld)
        return Chunk(self._clock(), None, withheld, fresh=True)

    def _is_written(self, piece: _Piece, number: int, chunk: Chunk, progress: Progress) -> bool:
        """Write one file, unless an earlier try has; tell whether it is there, as far as can be told.

        Of one that was begun and is not there the result says that it was put again, where that is possible: the
        first may have been read.
        """
        there = chunk.judged or (not chunk.fresh and self._store.head(piece.key) is not None)
        again = not chunk.fresh and not there and piece.file is not None
        if again and not self._may_be_repeated(piece, chunk, progress):
            return False
        if piece.file is not None and not chunk.judged:
            self._put(piece.key, piece.file)
        records, size = (piece.file.records, piece.file.bytes) if piece.file else (0, 0)
        written = {KEY: piece.key, LOCATION: self._store.location(piece.key), "records": records, "bytes": size}
        progress.finish(number, {**written, PUT_AGAIN: again})
        return True

    def _may_be_repeated(self, piece: _Piece, chunk: Chunk, progress: Progress) -> bool:
        if chunk.is_late(self._clock()):
            return False
        left_out = {one.identifier for one in chunk.withheld}
        return all(one.identifier in left_out for one in progress.may_not_go(piece.rows))

    def _put(self, key: str, file: WrittenFile) -> None:
        """Write a file, or make sure that an earlier try of ours has written just this file."""
        if self._store.put_if_absent(key, file.path):
            return
        there = file.path.with_suffix(".there")
        found = self._store.head(key)
        if found is None:
            raise Transient(f"{self._store.location(key)} was there and is not any more")
        if found.size == file.bytes:
            self._store.get_to_file(key, there, max_bytes=file.bytes)
            if sha256_of(there) == sha256_of(file.path):
                return
        raise Permanent(
            f"somebody else wrote {self._store.location(key)}: it has {found.size} bytes and is not the "
            f"submission's file of {file.bytes}; find out who writes names that start with {PREFIX}"
        )


def _pieces(outgoing: Outgoing, folder: Path) -> list[_Piece]:
    """Write the submission's files to local disk: the same records always give the same files."""
    pieces, first = [], 0
    for number, file in enumerate(_written(_frames(outgoing.record_set), folder / "part"), 1):
        pieces.append(_Piece(file_name(outgoing.submission_id, number), Rows(first, file.records), file))
        first += file.records
    if first != outgoing.records or not pieces:
        raise Corrupt(f"{outgoing.submission_id} is to have {outgoing.records} records, its record set has {first}")
    return pieces


def _without(outgoing: Outgoing, piece: _Piece, withheld: tuple[Withheld, ...]) -> _Piece:
    if not withheld or piece.file is None:
        return piece
    left = ~pl.col(IDENTIFIER).is_in([one.identifier for one in withheld])
    frames = (frame.filter(left) for frame in _frames(outgoing.record_set, piece.rows))
    files = _written(frames, piece.file.path.with_suffix(".rest"))
    return replace(piece, file=files[0] if files else None)


def _written(frames: Iterable[pl.DataFrame], path: Path) -> Sequence[WrittenFile]:
    try:
        with TemplateWriter(path, max_records=MAX_FILE_RECORDS, max_bytes=MAX_BYTES) as writer:
            for frame in frames:
                writer.append(frame)
            return writer.close()
    except InputUnusable as error:
        if isinstance(error.__cause__, OSError):
            raise disk_error(error.__cause__, str(path.parent)) from error
        raise Permanent(str(error)) from error


def _frames(record_set: Path, rows: Rows | None = None) -> Iterator[pl.DataFrame]:
    records = pl.scan_parquet(record_set)
    if rows is not None:
        records = records.slice(rows.first, rows.records)
    height = records.select(pl.len()).collect().item()
    for first in range(0, height, _BATCH):
        yield records.slice(first, _BATCH).collect()


def _identifiers(outgoing: Outgoing, rows: Rows, withheld: tuple[Withheld, ...]) -> list[str]:
    chosen = pl.scan_parquet(outgoing.record_set).slice(rows.first, rows.records).select(IDENTIFIER).collect()
    left_out = {one.identifier for one in withheld}
    return [identifier for identifier in chosen[IDENTIFIER] if identifier not in left_out]
