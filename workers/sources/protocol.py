"""The seam between the pipeline and wherever the sender keeps his usage."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from workers.kernel.clock import to_text, utc_now
from workers.kernel.errors import FileUnusable
from workers.records import timestamps
from workers.records.catalog import Catalog, folded, folded_text
from workers.records.identifiers import content, is_nameless
from workers.records.schema import (
    EVENT_NAME,
    IDENTIFIER,
    READER_COLUMNS,
    REQUIRED_COLUMNS,
    TIMESTAMP,
    WRITTEN,
    empty_frame,
    payload_columns,
)
from workers.records.validation import Standard

CONTENT: Final = "@content"
RECORD_AT: Final = "@record_at"
ROW_AT: Final = "@row_at"
EPOCH_SECONDS: Final = "^[0-9]{10}$"
"""Epoch seconds of today, which have ten digits."""
_TIME: Final = "@time"


@dataclass(frozen=True, eq=False)
class FoundUsage:
    """What the sources hold of the identifiers that were asked for.

    `rows` is a canonical frame of every row that carries one of them, the oldest file first, with the time at which
    its file was last written (`WRITTEN`). `unusable` has a line for each file that could not be read and each place
    that holds none: an identifier that no row carries may be there.
    """

    rows: pl.DataFrame
    unusable: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Settled:
    """Identifiers told apart by the rows that carry them; each of them is in one of the three.

    `records` is a canonical frame with one row per identifier that was found. `missing` stand on no row.
    `ambiguous` stand on several rows that differ in what Stripe bills by (identifier, timestamp, event name,
    payload), so that nobody can tell which one was refused; rows that agree in it count as one.
    """

    records: pl.DataFrame
    missing: tuple[str, ...]
    ambiguous: tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """One version of one file that Stripe may have validated.

    `location` is its full address, whose last part is the `SOURCE` of its rows. `version` changes when its content
    does; `written` is when it was last written, in UTC. `records` counts its rows of the event names asked for.
    """

    location: str
    version: str
    written: datetime
    records: int


@dataclass(frozen=True)
class Candidates:
    """The files that Stripe may have validated, the oldest first.

    `unusable` has a line for each file of the time that could not be read and each place that holds none: it may be
    the one.
    """

    files: Sequence[Candidate]
    unusable: tuple[str, ...] = ()


class UsageSources(Protocol):
    """The sender's usage files. Files that we submitted ourselves are never among them."""

    def find(self, identifiers: Collection[str] | pl.Series) -> FoundUsage:
        """Look records up by their identifiers. Raises Transient and SettingsUnusable as stores do."""

    def rows(self, event_names: Collection[str], start: datetime, end: datetime) -> Iterator[pl.DataFrame]:
        """Yield the rows of these event names, part of a file by part, as canonical frames with `WRITTEN`.

        Only files that were written since `start` are read, and rows are left out whose timestamp is epoch seconds
        outside `start` (included) to `end` (not included); one in any other form is for the caller to judge. What
        cannot be read is passed over. Raises Transient and SettingsUnusable as stores do.
        """

    def candidates(self, event_names: Collection[str] | None, start: datetime, end: datetime) -> Candidates:
        """Return the files last written from `start` to `end`, both included, that have a row of these event names.

        The names are exact text; None asks for any row. A file that was read once is judged without opening it.
        Raises Transient and SettingsUnusable as stores do, Transient also until a place with very many objects has
        been listed since `end`.
        """

    def rows_of(self, candidate: Candidate, event_names: Collection[str] | None) -> Iterator[pl.DataFrame]:
        """Yield the candidate's rows of these event names (exact text; None: all) as canonical frames, by parts.

        They have `WRITTEN` and, where the file tells any, `EVIDENCE`; rows that cannot be taken apart are left out.
        Raises FileUnusable when the file is gone, has another version by now or cannot be read any more, Permanent
        when it has become too large, and Transient and SettingsUnusable as stores do.
        """

    def doubtful(self, candidate: Candidate, event_name: str, standard: Standard) -> Iterator[pl.DataFrame]:
        """Yield the candidate's rows of an event name, as `rows_of` does, but for most of those that are clean.

        The catalog of the standard has a meter of this name, and its rules repeat nothing. What is left out has no
        fault of Stripe's by the standard, save that its meter may be archived. Raises as `rows_of` does.
        """

    def customers(self, candidate: Candidate, event_name: str, catalog: Catalog) -> pl.Series:
        """Return the customers of the candidate's rows of an event name, each once. Raises as `rows_of` does."""

    def earlier(self, records: pl.DataFrame, before: datetime, but: Collection[str]) -> pl.DataFrame:
        """Return rows that tell the same usage as one of the records (`same_usage`), with `WRITTEN`.

        Only files that were last written before `before` are read, and none at the addresses `but`. A row tells the
        same usage where it has the record's identifier, event name and time, or no identifier and all else that
        Stripe bills by. Raises Transient and SettingsUnusable as stores do.
        """

    def copies(self, path: Path) -> frozenset[str]:
        """Return the addresses of the sender's files that have the very bytes of a local file."""

    def file(self, name: str, by: datetime) -> Path | None:
        """Return a local copy of the sender's file of that base name, to be read only; None when there is none.

        Raises FileUnusable when it was written later than `by`: it is not the file that was there then. Raises
        Permanent when several files of that name differ, and Transient as `candidates` does, for `by`.
        """

    def prepare(self, seconds: float) -> int:
        """Make ready, for about so many seconds, what a look into new files needs; return how many files are left.

        It spares the first look after a quiet day the reading of all that came in between. Raises Transient and
        SettingsUnusable as stores do.
        """


def concerned(event_names: Collection[str], start: datetime, end: datetime) -> pl.Expr:
    """Tell whether a row is one that `rows` yields, however its event name is spelt; ten digits sort as text."""
    time = pl.col(TIMESTAMP)
    first, after = (pl.lit(str(int(moment.timestamp()))) for moment in (start, end))
    within = time.is_between(first, after, closed="left")
    named = folded(pl.col(EVENT_NAME)).is_in([folded_text(name) for name in event_names])
    return named & (~time.str.contains(EPOCH_SECONDS) | within)


def wanted(identifiers: Collection[str] | pl.Series) -> pl.Series:
    """Return the identifiers that were asked for, each once."""
    texts = identifiers if isinstance(identifiers, pl.Series) else pl.Series(list(identifiers), dtype=pl.String)
    return texts.cast(pl.String).drop_nulls().unique(maintain_order=True).alias(IDENTIFIER)


def written_later(location: str, written: datetime, by: datetime) -> FileUnusable:
    """Return the error about a file that cannot be the one that was there at `by`."""
    return FileUnusable(
        f"it was written at {to_text(written)}, after {to_text(by)}, so it is not the file that Stripe refused",
        where=location,
        mend="put back what was uploaded, then retry the event",
    )


def gone(candidate: Candidate) -> FileUnusable:
    """Return the error about a candidate that is not there any more as it was."""
    return FileUnusable(
        "it has been taken away or written to since it was looked at",
        where=candidate.location,
        mend="put back what was uploaded, then retry the case",
    )


def may_tell(records: pl.DataFrame) -> pl.Expr:
    """Tell whether a row has the identifier of one of the records or, without one, may say the same."""
    times = records[TIMESTAMP].unique().implode()
    return pl.col(IDENTIFIER).is_in(records[IDENTIFIER].unique().implode()) | (
        is_nameless() & pl.col(TIMESTAMP).is_in(times)
    )


def same_usage(records: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the pairs of a record and a row that tell the same usage, by their places (`RECORD_AT`, `ROW_AT`)."""
    told = _numbered(rows, ROW_AT)
    said = _numbered(records, RECORD_AT)
    by_name = told.filter(~is_nameless()).join(said, on=[IDENTIFIER, EVENT_NAME], suffix=" said")
    same_time = pl.col(_TIME).eq(pl.col(f"{_TIME} said")).fill_null(value=True)
    by_content = told.filter(is_nameless()).join(said, on=CONTENT)
    named, nameless = (pairs.select(RECORD_AT, ROW_AT) for pairs in (by_name.filter(same_time), by_content))
    return pl.concat([named, nameless]).unique().sort(RECORD_AT, ROW_AT)


def _numbered(frame: pl.DataFrame, place: str) -> pl.DataFrame:
    return frame.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias(place),
        IDENTIFIER,
        folded(pl.col(EVENT_NAME)),  # as `no_meter` is repaired alone
        # null where a time has no one reading, so that it may be any
        timestamps.read(pl.col(TIMESTAMP), timestamps.Window(utc_now())).alias(_TIME),
        content(frame.columns).alias(CONTENT),
    )


def carriers(rows: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return rows of several files as one canonical frame with `WRITTEN`."""
    frame = pl.concat([empty_frame((*REQUIRED_COLUMNS, WRITTEN)), *rows], how="diagonal")
    senders = [name for name in frame.columns if name not in (*READER_COLUMNS, WRITTEN)]
    return frame.select(*senders, WRITTEN, *READER_COLUMNS)


def settle(identifiers: pl.Series, rows: pl.DataFrame) -> Settled:
    """Tell found, missing and ambiguous identifiers apart, given every row that may be meant by one of them."""
    billed = [*REQUIRED_COLUMNS, *payload_columns(rows.columns)]
    distinct = rows.unique(billed, keep="first", maintain_order=True)
    ambiguous = pl.col(IDENTIFIER).is_duplicated()
    return Settled(
        records=distinct.filter(~ambiguous).drop(WRITTEN, strict=False),
        missing=tuple(identifiers.filter(~identifiers.is_in(rows[IDENTIFIER].implode()))),
        ambiguous=tuple(distinct.filter(ambiguous)[IDENTIFIER].unique(maintain_order=True)),
    )
