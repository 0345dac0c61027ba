"""What must be known of whole files before their parts are planned: kind, repeats, columns, findings."""

import filecmp
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import polars as pl

from workers.records.catalog import Catalog, Meter
from workers.records.facts import FileFacts, find_facts
from workers.records.layout import Finding, ReadOptions
from workers.records.reader import open_file
from workers.records.schema import EVENT_NAME, IDENTIFIER, MAX_FILE_RECORDS, REQUIRED_COLUMNS, TIMESTAMP
from workers.records.timestamps import epoch_seconds
from workers.records.usage_file import TARGET_BYTES, UsageFile
from workers.reports.failed_records import FailureColumns, recognise

Kind = Literal["usage", "failed-records"]

_WINDOWS: Final = {"day": 86_400, "hour": 3_600}
_WINDOW: Final = "window"


@dataclass(frozen=True, eq=False)
class Survey:
    """A file that is ready to be planned part by part.

    `failure` are the columns of a failed-records file, null for a usage file. `repeated_rows` are rows whose
    identifier stands on an earlier row, or in an earlier one of the files that are surveyed together.
    """

    path: Path
    file: UsageFile
    facts: FileFacts
    failure: FailureColumns | None
    repeated_rows: pl.Series
    findings: tuple[Finding, ...]

    @property
    def name(self) -> str:
        """The file's name."""
        return self.file.layout.name

    @cached_property
    def identity(self) -> str:
        """What names the file's content, for the identifiers of records that have none: its sha256."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    @property
    def headers(self) -> dict[str, str]:
        """The sender's own header of each column that was renamed."""
        return {column: header for header, column in self.file.layout.renames.items()}


def survey(
    paths: Sequence[Path],
    catalog: Catalog,
    *,
    kind: Kind | None = None,
    reading: ReadOptions | None = None,
    part_bytes: int = TARGET_BYTES,
) -> list[Survey]:
    """Open the files and go through each once. `kind` is found out when null. Raises FileUnusable."""
    files = [open_file(path, reading) for path in paths]
    failures = [_failure_columns(file, kind, reading) for file in files]
    windowed = [meter for meter in catalog.active if meter.event_time_window in _WINDOWS]
    facts = find_facts(
        files, part_bytes, keys=_keys(windowed), needs=_needs(windowed), customers=catalog.customer_columns
    )
    known = zip(paths, files, failures, facts, strict=True)
    return [_survey(*one, repeated=_repeated(paths[: n + 1], facts[n])) for n, one in enumerate(known)]


def _repeated(paths: Sequence[Path], facts: FileFacts) -> pl.Series:
    """Return the rows of the last of the files whose identifier stands before: all of them in a copy of a file.

    What has no identifier in a copy would get the one that it gets in the other.
    """
    if facts.missing_identifiers and any(filecmp.cmp(paths[-1], path, shallow=False) for path in paths[:-1]):
        return pl.int_range(1, facts.records + 1, dtype=pl.Int64, eager=True)
    return facts.repeated_rows(IDENTIFIER)


def _survey(
    path: Path, file: UsageFile, failure: FailureColumns | None, facts: FileFacts, *, repeated: pl.Series
) -> Survey:
    findings = (*file.layout.findings, *_findings(facts, failure, repeated.len()))
    return Survey(path, file, facts, failure, repeated, findings)


def _failure_columns(file: UsageFile, kind: Kind | None, reading: ReadOptions | None) -> FailureColumns | None:
    if kind == "usage":
        return None
    found = recognise(file.layout, reading)
    return found or (FailureColumns() if kind == "failed-records" else None)


def _keys(windowed: Sequence[Meter]) -> dict[str, pl.Expr]:
    """Return the keys whose repeats matter: the identifier, and the window where only the last value counts."""
    keys = {IDENTIFIER: _given(IDENTIFIER)}
    return keys | {_WINDOW: pl.coalesce(*map(_window, windowed))} if windowed else keys


def _needs(windowed: Sequence[Meter]) -> list[str]:
    return [*REQUIRED_COLUMNS, *(meter.customer_column for meter in windowed)] if windowed else []


def _given(column: str) -> pl.Expr:
    return pl.when(pl.col(column).str.strip_chars() != "").then(column)


def _window(meter: Meter) -> pl.Expr:
    seconds = epoch_seconds(pl.col(TIMESTAMP))
    start = seconds.floordiv(_WINDOWS[str(meter.event_time_window)])
    key = pl.concat_str(EVENT_NAME, start, meter.customer_column, separator="\n")
    return pl.when(pl.col(EVENT_NAME) == meter.event_name).then(key)


def _findings(facts: FileFacts, failure: FailureColumns | None, repeated: int) -> Iterator[Finding]:
    if failure:
        column = failure.message or failure.code
        why = f"column {column!r}" if column else "as declared"
        yield Finding("failed_records", f"read as a failed-records file ({why}): every row was refused")
    if not facts.records:
        yield Finding("no_records", "holds no record")
    if facts.records > MAX_FILE_RECORDS:
        yield Finding(
            "too_many_records", f"records: {facts.records:,}; Stripe takes {MAX_FILE_RECORDS:,} in a file"
        )
    if facts.missing_identifiers:
        yield Finding("missing_identifiers", f"records without an identifier: {facts.missing_identifiers:,}")
    if repeated:
        yield Finding("repeated_identifiers", f"records that repeat an earlier one's identifier: {repeated:,}")
    windows = facts.repeats.get(_WINDOW)
    if windows is not None and windows.height:
        yield Finding(
            "shared_windows",
            f"records that share customer and window, of a meter that keeps the last one only: {windows.height:,}",
        )
