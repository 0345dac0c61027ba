"""What must be known of whole files before their parts are planned: kind, repeats, columns, findings."""

import filecmp
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import polars as pl

from workers.kernel.files import sha256_of
from workers.offline.differences import Differences, find_differences
from workers.offline.failed_rows import FailedRows, failed_rows
from workers.offline.own_files import OwnColumns, own_columns, own_findings
from workers.offline.revisions import RefusedFor, taken_revisions
from workers.offline.scan import THREADS, FileFacts, find_facts
from workers.offline.windows import MeterWindows
from workers.records.catalog import Catalog
from workers.records.files.layout import Finding, ReadOptions
from workers.records.files.open import open_file
from workers.records.files.usage_file import UsageFile
from workers.records.identifiers import lines
from workers.records.schema import IDENTIFIER, MAX_FILE_RECORDS
from workers.remedies.codes import stripes_codes
from workers.reports.failed_records import FailureColumns, failure_columns, named_columns, recognise

Kind = Literal["usage", "failed-records"]

_WINDOW: Final = "window"
PART_BYTES: Final = 8 << 20
"""Size of a planned part, larger than the reader's: what is done for each costs as much however small it is."""


@dataclass(frozen=True)
class PlanOptions:
    """How files are read, cut and written. `kind` null: found out. `new_identifiers`: the next revision's.

    `refused_for` null: a record was refused for its data where Stripe gave it a code. `for_dashboard`: times may be
    written as the Dashboard takes them.
    """

    output: str = "csv"
    new_identifiers: bool = False
    refused_for: RefusedFor | None = None
    kind: Kind | None = None
    for_dashboard: bool = False
    reading: ReadOptions = field(default_factory=ReadOptions)
    part_bytes: int = PART_BYTES
    threads: int = THREADS


@dataclass(frozen=True, eq=False)
class Survey:
    """A file that is ready to be planned part by part.

    `failure` are the columns of a failed-records file, null for a usage file. `own` are metermend's columns in a
    file that it wrote, of which each record tells whether it was refused. `unproven` are columns of a usage
    file that have the names of such, and tell no refusal. `repeated_rows` are rows whose
    identifier stands on an earlier row, or in an earlier one of the files that are surveyed together; `differences`
    are those of them that are not equal to that earlier one. `rows` says which rows tell a record again; `taken` is
    what `taken_revisions` found.
    """

    path: Path
    facts: FileFacts
    failure: FailureColumns | None
    rows: FailedRows
    taken: pl.DataFrame
    repeated_rows: pl.Series
    differences: Differences
    findings: tuple[Finding, ...]
    unproven: FailureColumns
    own: OwnColumns | None

    @property
    def name(self) -> str:
        return self.facts.file.layout.name

    @property
    def records(self) -> int:
        """How many records the file's rows tell."""
        return self.facts.records - self.rows.again.len()

    @cached_property
    def identity(self) -> str:
        """What names the file's content, for the identifiers of records that have none: its sha256."""
        return sha256_of(self.path)


def survey(paths: Sequence[Path], catalog: Catalog, options: PlanOptions) -> list[Survey]:
    """Open the files and go through each once. Raises FileUnusable."""
    kind, reading = options.kind, options.reading
    files = [open_file(path, reading) for path in paths]
    declared = bool(reading.code_column or reading.error_column)
    own = [None if declared else own_columns(file.layout, heeded=kind != "usage") for file in files]
    failures = [_failure_columns(file, kind, reading, ours) for file, ours in zip(files, own, strict=True)]
    windows = MeterWindows(catalog)
    # Records may go out under the next revision's identifier though no file tells a refusal.
    revising = options.new_identifiers or options.refused_for == "data"
    keys = _keys(windows, revising=revising or any(failures) or any(ours and ours.told for ours in own))
    found = find_facts(
        files, options.part_bytes, keys=keys, needs=windows.columns, customers=catalog.customer_columns
    )
    facts = [_of_sender(of_file, ours) for of_file, ours in zip(found, own, strict=True)]
    repeated = [_repeated(paths[: n + 1], of_file) for n, of_file in enumerate(facts)]
    rows, taken, differences = failed_rows(facts, failures), taken_revisions(facts), find_differences(facts)
    known = zip(paths, facts, failures, rows, taken, repeated, differences, own, strict=True)
    return [_survey(*of_file) for of_file in known]


def _repeated(paths: Sequence[Path], facts: FileFacts) -> pl.Series:
    """Return the rows of the last of the files whose identifier stands before: all of them in a copy of a file.

    What has no identifier in a copy would get the one that it gets in the other.
    """
    if facts.missing_identifiers and any(filecmp.cmp(paths[-1], path, shallow=False) for path in paths[:-1]):
        return pl.int_range(1, facts.records + 1, dtype=pl.Int64, eager=True)
    return facts.repeated_rows(IDENTIFIER)


def _survey(
    path: Path,
    facts: FileFacts,
    failure: FailureColumns | None,
    rows: FailedRows,
    taken: pl.DataFrame,
    repeated: pl.Series,
    different: Differences,
    ours: OwnColumns | None,
) -> Survey:
    repeated = repeated.filter(~repeated.is_in(rows.again.implode()))
    findings = (
        *facts.file.layout.findings,
        *_findings(facts, failure, rows),
        *_repeats(facts, repeated, different),
    )
    if ours is not None:
        findings = (*own_findings(facts, ours), *findings)
    unproven = named_columns(facts.file.layout) if failure is None and ours is None else None
    named = unproven or FailureColumns()
    return Survey(path, facts, failure, rows, taken, repeated, different, findings, named, ours)


def _of_sender(facts: FileFacts, ours: OwnColumns | None) -> FileFacts:
    """Return the facts with the sender's columns only."""
    if ours is None:
        return facts
    return replace(facts, columns=tuple(name for name in facts.columns if name not in ours.names))


def _failure_columns(
    file: UsageFile, kind: Kind | None, reading: ReadOptions, ours: OwnColumns | None
) -> FailureColumns | None:
    if kind == "usage" or (ours is not None and ours.told):
        return None
    ignored = () if ours is None else ours.names
    if kind == "failed-records":
        return failure_columns(file, reading, ignored, stripes_codes()) or FailureColumns()
    return recognise(file, reading, ignored, stripes_codes())


def _keys(windows: MeterWindows, *, revising: bool) -> dict[str, pl.Expr]:
    """Return the keys whose repeats matter: the identifier, and the window where only the last value counts.

    Where records go out under the next revision's identifier all revisions of a record are one.
    """
    given = pl.when(pl.col(IDENTIFIER).str.strip_chars() != "").then(IDENTIFIER)
    identifier = lines(given) if revising else given
    return {IDENTIFIER: identifier} | ({_WINDOW: windows.key()} if windows else {})


def _findings(facts: FileFacts, failure: FailureColumns | None, rows: FailedRows) -> Iterator[Finding]:
    if failure:
        column = failure.message or failure.code
        why = f"column {column!r}" if column else "as declared"
        yield Finding("failed_records", f"read as a failed-records file ({why}): every row was refused")
    if rows.again.len():
        yield Finding(
            "told_again", f"rows that tell an earlier row's record again, with another error: {rows.again.len():,}"
        )
    if not facts.records:
        yield Finding("no_records", "holds no record")
    if facts.records > MAX_FILE_RECORDS:
        yield Finding(
            "too_many_records", f"records: {facts.records:,}; Stripe takes {MAX_FILE_RECORDS:,} in a file"
        )
    missing = facts.missing_identifiers - rows.unidentified
    if missing:
        yield Finding("missing_identifiers", f"records without an identifier: {missing:,}")


def _repeats(facts: FileFacts, repeated: pl.Series, different: Differences) -> Iterator[Finding]:
    if repeated.len():
        text = f"records that repeat an earlier one's identifier: {repeated.len():,}"
        differing = different.rows.filter(different.rows.is_in(repeated.implode())).len()
        yield Finding("repeated_identifiers", text + (f"; different from it: {differing:,}" if differing else ""))
    windows = facts.repeats.get(_WINDOW)
    if windows is not None and windows.height:
        yield Finding(
            "shared_windows",
            f"records that share customer and window, of a meter that keeps the last one only: {windows.height:,}",
        )
