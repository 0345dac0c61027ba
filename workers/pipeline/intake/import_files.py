"""The files behind an import set: the failed-records file that Stripe made, and the original behind it."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

import polars as pl

from workers.kernel.clock import STORE_AHEAD
from workers.kernel.errors import FileForeign, FileUnusable, Permanent
from workers.kernel.files import sha256_of
from workers.kernel.given_file import LABEL
from workers.kernel.ledger.events import StoredEvent
from workers.kernel.settings import Settings
from workers.pipeline.context import Context
from workers.pipeline.intake.failed_rows import NUMBERED
from workers.records.files.headers import are_titles
from workers.records.files.layout import Format, Layout, ReadOptions
from workers.records.files.open import open_file
from workers.records.files.usage_file import UsageFile
from workers.records.identifiers import is_nameless, with_identifiers
from workers.records.notation import Evidence, evidence_in, with_evidence
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
from workers.remedies.codes import stripes_codes
from workers.reports.failed_records import (
    FailureColumns,
    annotate,
    failure_columns,
    given_row,
    repeats_records,
)
from workers.reports.import_set import ImportSetReport
from workers.sources import UsageSources

PUT_BACK: Final = "put back what was uploaded, then retry the event"
MAX_ORIGINAL_BYTES: Final = 1_000_000_000
"""The largest file that Stripe's connector takes (Stripe docs, "Record usage in bulk")."""
_NO_LIST: Final = "download the error report from the import set in the Dashboard"
_NO_USAGE: Final = "mend its header, then `metermend retry` the event"
_ORIGINAL: Final = "original"
_ENDING: Final = re.compile(r"\.[A-Za-z0-9]{1,8}$")
CURED: Final = frozenset({
    "header_declared", "header_renamed", "delimiter", "byte_order_mark", "encoding", "line_ends", "compressed",
    "wrong_extension", "too_large", "separator_line", "body", "record_nested", "payload_nested", "workbook",
})  # fmt: skip
"""Findings of the reader about a whole file that do not stand in the file that is written from it."""


@dataclass(frozen=True)
class Import:
    """An import set that an event tells of. `names` are its file's, Stripe's own first; `folder` has downloads."""

    context: Context
    event: StoredEvent
    report: ImportSetReport
    names: tuple[str, ...]
    folder: Path

    @property
    def id(self) -> str:
        return self.report.import_set_id or self.event.id

    @property
    def begun(self) -> datetime:
        """When Stripe began to import, as far as the event tells."""
        return self.report.created or self.event.created_at or self.event.received_at

    @property
    def sources(self) -> UsageSources:
        return self.context.sources_of(self.event.account)

    def download(self, file_id: str, name: str, max_bytes: int) -> Path:
        """Return the path of a file of Stripe's, downloaded under that name once."""
        path = self.folder / name
        if not path.exists():
            self.context.stripe.download_file(file_id, self.event.account, path, max_bytes)
        return path


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
        for frame in _frames(self.file, self.name, sha256_of(self.path)):
            there += frame.height
            yield frame
        if self.records not in (None, there):
            raise FileUnusable(
                f"it has {there} records, and Stripe read {self.records}: it is not the file that was refused",
                where=self.name,
                mend=PUT_BACK,
            )


def failed_rows(imported: Import) -> Iterator[pl.DataFrame]:
    """Yield the rows of the failed-records file with Stripe's code and message, and `NUMBERED`.

    Where it does not repeat the records they are taken from the original by their row numbers. Raises FileUnusable,
    and FileForeign when it looks as if the import was not of usage.
    """
    report, settings = imported.report, imported.context.settings
    assert report.error_file_id is not None
    path = imported.download(report.error_file_id, LABEL, settings.failed_records_max_bytes)
    options = read_options(settings)
    try:
        file = open_file(path, options)
    except FileForeign as error:  # it tells of no failure either, so it is no list of them
        raise FileUnusable(error.what, where=error.where, mend=_NO_LIST) from error
    columns = failure_columns(file, options, codes=stripes_codes())
    if not repeats_records(file.layout):
        if columns is None or columns.row is None:
            raise _no_list(file)
        yield from _rows_of_original(imported, file, columns)
        return
    name = imported.names[0] if imported.names else file.layout.name
    for part in file.parts():
        frame = file.read(part).with_columns(pl.lit(name).alias(SOURCE))
        yield _numbered(frame, columns or FailureColumns())


def content_digest(imported: Import, rows: Iterable[pl.DataFrame]) -> str:
    """Return what stands for the content of the imported file in the identifiers that are made for its rows.

    It is the original's digest, so that the same file refused again has the same ones. Where every row has an
    identifier, or Stripe does not give the original back, the failed-records file's serves.
    """
    nameless = any(frame.select((is_nameless() & pl.col(NUMBERED)).any()).item() for frame in rows)
    original = _original_at_hand(imported) if nameless else None
    return sha256_of(original or imported.folder / LABEL)


def original_file(imported: Import) -> OriginalFile | None:
    """Return the file that was imported: from Stripe, else from the sender's sources; None when it is in neither.

    Raises FileUnusable, and FileForeign when it is no usage file.
    """
    path = _fetch_original(imported)
    if path is None:
        return None
    file = open_file(path, read_options(imported.context.settings))
    if not _has_usage_columns(file.layout):
        raise _no_usage(file, mend=_NO_USAGE)
    named_only = imported.report.source_file_id is None
    records = imported.report.rows_processed or None if named_only else None
    return OriginalFile(path, imported.names[0] if imported.names else path.name, file, records)


def _numbered(frame: pl.DataFrame, columns: FailureColumns) -> pl.DataFrame:
    """Give the records their codes and the row numbers of the original, without the columns that Stripe added."""
    given = given_row(frame, columns)
    told = annotate(frame, columns, stripes_codes()) if columns.code or columns.message else frame
    numbered = told.with_columns(given.is_not_null().alias(NUMBERED), pl.coalesce(given, ROW).alias(ROW))
    return numbered.drop([name for name in (columns.code, columns.message, columns.row) if name], strict=False)


def _frames(file: UsageFile, name: str, digest: str) -> Iterator[pl.DataFrame]:
    """Yield a file's parts, with identifiers and with the evidence of all of it: it is gone through twice."""
    evidence = sum((evidence_in(file.read_and_keep(part)) for part in file.parts()), Evidence())
    for part in file.parts():
        frame = with_evidence(file.read(part), evidence)
        yield frame.with_columns(pl.lit(name).alias(SOURCE), with_identifiers(digest).alias(IDENTIFIER))


def _rows_of_original(imported: Import, failures: UsageFile, columns: FailureColumns) -> Iterator[pl.DataFrame]:
    """Yield the rows of the original that a failed-records file names by their numbers."""
    original = original_file(imported)
    if original is None:
        raise FileUnusable(
            "it names rows of a file that was not found",
            where=failures.layout.name,
            mend="name the place that the file lies in under USAGE_SOURCES",
        )
    told = (annotate(failures.read(part), columns, stripes_codes()) for part in failures.parts())
    reasons = pl.concat([frame.select(given_row(frame, columns).alias(ROW), CODE, MESSAGE) for frame in told])
    unreadable = reasons[ROW].null_count()
    if unreadable:
        raise FileUnusable(
            f"{unreadable} of its {reasons.height} lines name no row of the original that can be read as a number",
            where=failures.layout.name,
            mend="set FAILED_RECORDS_ROW_COLUMN to the column that numbers the original's rows",
        )
    for frame in original.frames():
        yield frame.join(reasons, on=ROW, maintain_order="left").with_columns(pl.lit(value=True).alias(NUMBERED))


def _fetch_original(imported: Import) -> Path | None:
    file_id, names = imported.report.source_file_id, imported.names
    if file_id is not None:
        # A stranger chose the name: only an ending of it, which says what the file should be, becomes part of ours.
        ending = _ENDING.search(names[0]) if names else None
        return imported.download(file_id, f"{_ORIGINAL}{ending[0] if ending else ''}", MAX_ORIGINAL_BYTES)
    by = imported.begun + STORE_AHEAD
    return next(filter(None, (imported.sources.file(name, by) for name in names)), None)


def copies_of_refused(imported: Import) -> frozenset[str]:
    """Return the addresses of the sender's own copies of the file that was imported, as far as it can be had."""
    path = _original_at_hand(imported)
    return imported.sources.copies(path) if path else frozenset()


def _original_at_hand(imported: Import) -> Path | None:
    """Return the file that was imported; None where neither Stripe nor the sources give it."""
    with suppress(Permanent, FileUnusable):
        return _fetch_original(imported)
    return None


def read_options(settings: Settings) -> ReadOptions:
    """Return which columns of a failed-records file are Stripe's, as the operator says."""
    return ReadOptions(
        code_column=settings.failed_records_code_column,
        error_column=settings.failed_records_error_column,
        row_column=settings.failed_records_row_column,
    )


def _has_usage_columns(layout: Layout) -> bool:
    names = {layout.renames.get(name, name) for name in layout.columns}
    return bool(names & {EVENT_NAME, TIMESTAMP}) or any(map(is_payload, names))


def _no_list(file: UsageFile) -> FileUnusable:
    """Return what is wrong with a failed-records file that neither repeats the records nor numbers them."""
    if _has_usage_columns(file.layout):
        return FileUnusable(
            "no column tells which row of the original was refused",
            where=file.layout.name,
            mend="name it in FAILED_RECORDS_ROW_COLUMN",
        )
    return _no_usage(file, mend=_NO_LIST)


def _no_usage(file: UsageFile, mend: str) -> FileUnusable:
    """Return that a file has no column of usage: FileForeign where it looks like a table of something else.

    An object of JSON that stands alone may be an answer of somebody's that has taken the file's place.
    """
    rows = sum(part.rows for part in islice(file.parts(), 1))
    least = 1 if file.layout.format is Format.CSV else 2
    error = FileForeign if rows >= least and are_titles(file.layout.columns) else FileUnusable
    return error("no column is a usage record's", where=file.layout.name, mend=mend)
