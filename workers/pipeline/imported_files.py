"""The files behind an import set: the failed-records file that Stripe made, and the original behind it."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from hashlib import file_digest
from pathlib import Path
from typing import Final

import polars as pl

from workers.kernel.errors import FileForeign, FileUnusable, Permanent
from workers.kernel.ledger.events import StoredEvent
from workers.kernel.settings import Settings
from workers.pipeline.context import Context
from workers.pipeline.told_rows import NUMBERED
from workers.records.content import is_nameless
from workers.records.identifiers import with_identifiers
from workers.records.layout import Layout, ReadOptions
from workers.records.reader import open_file
from workers.records.schema import (
    CODE,
    EVENT_NAME,
    IDENTIFIER,
    MAX_FILE_NAME_LENGTH,
    MESSAGE,
    ROW,
    SOURCE,
    TIMESTAMP,
    is_payload,
)
from workers.records.usage_file import UsageFile
from workers.reports.failed_records import (
    FailureColumns,
    annotate,
    failure_columns,
    repeats_records,
    with_original_rows,
)
from workers.reports.import_set import ImportSetReport

CLOCKS_DIFFER: Final = timedelta(minutes=1)
"""How much later than an import a file may seem to be written that was there before."""
PUT_BACK: Final = "put back what was uploaded, then retry the event"
MAX_ORIGINAL_BYTES: Final = 1_000_000_000
"""The largest file that Stripe's connector takes (Stripe docs, "Record usage in bulk")."""
_ORIGINAL: Final = "original"
_FAILED_RECORDS: Final = "failed-records"
_ENDING: Final = re.compile(r"\.[A-Za-z0-9]{1,8}$")
CURED: Final = frozenset({
    "header_declared", "header_renamed", "delimiter", "byte_order_mark", "encoding", "line_ends", "compressed",
    "wrong_extension", "too_large",
})  # fmt: skip
"""Findings of the reader about a whole file that do not stand in the file that is written from it."""


@dataclass(frozen=True)
class OriginalFile:
    """The file as its sender uploaded it, under the name that Stripe knows."""

    path: Path
    name: str
    file: UsageFile
    records: int | None = None
    """How many Stripe read, where the file is known by its name alone and may be another one."""

    @property
    def explains_refusal(self) -> bool:
        """Whether something about the file as a whole was wrong that the corrected file has no more."""
        return len(self.name) > MAX_FILE_NAME_LENGTH or any(f.slug in CURED for f in self.file.layout.findings)

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield the records, each with an identifier. Raises FileUnusable at the end when it has others."""
        there = 0
        for frame in _frames(self.file, self.name, _digest(self.path)):
            there += frame.height
            yield frame
        if self.records not in (None, there):
            raise FileUnusable(
                f"it has {there} records, and Stripe read {self.records}: it is not the file that was refused",
                where=self.name,
                mend=PUT_BACK,
            )


def failed_rows(
    context: Context, event: StoredEvent, report: ImportSetReport, folder: Path
) -> Iterator[pl.DataFrame]:
    """Yield the rows of the failed-records file with Stripe's code and message, and `NUMBERED`.

    It is downloaded into `folder`; where it does not repeat the records they are taken from the original by their
    row numbers. Raises FileUnusable, and FileForeign when the import was not of usage.
    """
    assert report.error_file_id is not None
    limit = context.settings.failed_records_max_bytes
    path = _download(context, event, report.error_file_id, folder, _FAILED_RECORDS, limit)
    options = _options(context.settings)
    file = open_file(path, options)
    columns = failure_columns(file.layout, options)
    if not repeats_records(file.layout):
        if columns is None or columns.row is None:
            raise _foreign_or_unusable(file.layout)
        yield from _rows_of_original(context, event, report, folder, file, columns)
        return
    name = report.source_names[0] if report.source_names else file.layout.name
    for part in file.parts():
        frame = file.read(part).with_columns(pl.lit(name).alias(SOURCE))
        yield _numbered(frame, columns or FailureColumns())


def content_digest(
    context: Context,
    event: StoredEvent,
    report: ImportSetReport,
    names: tuple[str, ...],
    folder: Path,
    rows: Iterable[pl.DataFrame],
) -> str:
    """Return what stands for the content of the imported file in the identifiers that are made for its rows.

    It is the original's digest, so that the same file refused again has the same ones. Where every row has an
    identifier, or Stripe does not give the original back, the failed-records file's serves.
    """
    nameless = any(frame.select((is_nameless() & pl.col(NUMBERED)).any()).item() for frame in rows)
    original = _original_at_hand(context, event, report, names, folder) if nameless else None
    return _digest(original or folder / _FAILED_RECORDS)


def original_file(
    context: Context, event: StoredEvent, report: ImportSetReport, names: tuple[str, ...], folder: Path
) -> OriginalFile | None:
    """Return the file that was imported: from Stripe, else from the sender's sources; None when it is in neither.

    Raises FileUnusable, and FileForeign when it is no usage file.
    """
    path = _fetch_original(context, event, report, names, folder)
    if path is None:
        return None
    file = open_file(path, _options(context.settings))
    if not _has_usage_columns(file.layout):
        raise FileForeign("no column is a usage record's", where=path.name)
    named_only = report.source_file_id is None
    return OriginalFile(
        path, names[0] if names else path.name, file, report.rows_processed or None if named_only else None
    )


def _numbered(frame: pl.DataFrame, columns: FailureColumns) -> pl.DataFrame:
    """Give the records their codes and the row numbers of the original, without the columns that Stripe added."""
    given = with_original_rows(frame.with_columns(pl.lit(None, pl.Int64).alias(ROW)), columns)[ROW]
    told = annotate(frame, columns) if columns.code or columns.message else frame
    numbered = told.with_columns(given.is_not_null().alias(NUMBERED), given.fill_null(frame[ROW]).alias(ROW))
    return numbered.drop([name for name in (columns.code, columns.message, columns.row) if name], strict=False)


def _frames(file: UsageFile, name: str, digest: str) -> Iterator[pl.DataFrame]:
    """Yield a file's parts. A record without an identifier gets one from the file's content and its row."""
    for part in file.parts():
        frame = file.read(part)
        yield frame.with_columns(pl.lit(name).alias(SOURCE), with_identifiers(digest).alias(IDENTIFIER))


def _rows_of_original(
    context: Context,
    event: StoredEvent,
    report: ImportSetReport,
    folder: Path,
    failures: UsageFile,
    columns: FailureColumns,
) -> Iterator[pl.DataFrame]:
    """Yield the rows of the original that a failed-records file names by their numbers."""
    original = original_file(context, event, report, report.source_names, folder)
    if original is None:
        raise FileUnusable(
            "it names rows of a file that was not found",
            where=failures.layout.name,
            mend="name the place that the file lies in under USAGE_SOURCES",
        )
    told = (with_original_rows(annotate(failures.read(part), columns), columns) for part in failures.parts())
    reasons = pl.concat([frame.select(ROW, CODE, MESSAGE) for frame in told])
    for frame in original.frames():
        yield frame.join(reasons, on=ROW, maintain_order="left").with_columns(pl.lit(value=True).alias(NUMBERED))


def _fetch_original(
    context: Context, event: StoredEvent, report: ImportSetReport, names: tuple[str, ...], folder: Path
) -> Path | None:
    if report.source_file_id is not None:
        # A stranger chose the name: only an ending of it, which says what the file should be, becomes part of ours.
        ending = _ENDING.search(names[0]) if names else None
        name = f"{_ORIGINAL}{ending[0] if ending else ''}"
        return _download(context, event, report.source_file_id, folder, name, MAX_ORIGINAL_BYTES)
    by = (report.created or event.created_at or event.received_at) + CLOCKS_DIFFER
    sources = context.sources_of(event.account)
    return next(filter(None, (sources.file(name, by) for name in names)), None)


def copies_of_refused(
    context: Context, event: StoredEvent, report: ImportSetReport, names: tuple[str, ...], folder: Path
) -> frozenset[str]:
    """Return the addresses of the sender's own copies of the file that was imported, as far as it can be had."""
    path = _original_at_hand(context, event, report, names, folder)
    return context.sources_of(event.account).copies(path) if path else frozenset()


def _original_at_hand(
    context: Context, event: StoredEvent, report: ImportSetReport, names: tuple[str, ...], folder: Path
) -> Path | None:
    """Return the file that was imported; None where neither Stripe nor the sources give it."""
    with suppress(Permanent, FileUnusable):
        return _fetch_original(context, event, report, names, folder)
    return None


def _download(context: Context, event: StoredEvent, file_id: str, folder: Path, name: str, max_bytes: int) -> Path:
    path = folder / name
    if not path.exists():
        context.stripe.download_file(file_id, event.account, path, max_bytes)
    return path


def _options(settings: Settings) -> ReadOptions:
    return ReadOptions(
        code_column=settings.failed_records_code_column,
        error_column=settings.failed_records_error_column,
        row_column=settings.failed_records_row_column,
    )


def _has_usage_columns(layout: Layout) -> bool:
    names = {layout.renames.get(name, name) for name in layout.columns}
    return bool(names & {EVENT_NAME, TIMESTAMP}) or any(map(is_payload, names))


def _foreign_or_unusable(layout: Layout) -> FileUnusable:
    if _has_usage_columns(layout):
        return FileUnusable(
            "no column tells which row of the original was refused",
            where=layout.name,
            mend="name it in FAILED_RECORDS_ROW_COLUMN",
        )
    return FileForeign("no column is a usage record's", where=layout.name)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
