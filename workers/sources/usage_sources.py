"""The seam between the pipeline and wherever the sender keeps his usage."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from workers.records.schema import IDENTIFIER, PAYLOAD_PREFIX, READER_COLUMNS, REQUIRED_COLUMNS, empty_frame


@dataclass(frozen=True, eq=False)
class Found:
    """What the sources hold of the identifiers that were asked for; each of them is in one of the first three.

    `records` is a canonical frame with one row per identifier that was found. `missing` stand in no source.
    `ambiguous` stand on several rows that differ in what Stripe bills by (identifier, timestamp, event name,
    payload), so that nobody can tell which one was refused; rows that agree in it count as one. `unusable` has a
    line for each file that could not be read and each place that holds none: a missing identifier may be there.
    """

    records: pl.DataFrame
    missing: tuple[str, ...]
    ambiguous: tuple[str, ...]
    unusable: tuple[str, ...] = ()


class UsageSources(Protocol):
    """The sender's usage files. Files that we submitted ourselves are never among them."""

    def find(self, identifiers: Collection[str] | pl.Series) -> Found:
        """Look records up by their identifiers. Raises Transient and SettingsUnusable as stores do."""

    def file(self, name: str) -> Path | None:
        """Return a local copy of the sender's file of that base name, to be read only; None when there is none.

        Raises Permanent when several files of that name differ.
        """


def wanted(identifiers: Collection[str] | pl.Series) -> pl.Series:
    """Return the identifiers that were asked for, each once."""
    texts = identifiers if isinstance(identifiers, pl.Series) else pl.Series(list(identifiers), dtype=pl.String)
    return texts.cast(pl.String).drop_nulls().unique(maintain_order=True).alias(IDENTIFIER)


def settle(identifiers: pl.Series, rows: Iterable[pl.DataFrame], unusable: Iterable[str] = ()) -> Found:
    """Tell found, missing and ambiguous identifiers apart, given every row that carries one of them."""
    hits = pl.concat([empty_frame(), *rows], how="diagonal")
    payload = [name for name in hits.columns if name.startswith(PAYLOAD_PREFIX)]
    distinct = hits.unique([*REQUIRED_COLUMNS, *payload], keep="first", maintain_order=True)
    ambiguous = pl.col(IDENTIFIER).is_duplicated()
    senders = [name for name in hits.columns if name not in READER_COLUMNS]
    return Found(
        records=distinct.filter(~ambiguous).select(*senders, *READER_COLUMNS),
        missing=tuple(identifiers.filter(~identifiers.is_in(hits[IDENTIFIER].implode()))),
        ambiguous=tuple(distinct.filter(ambiguous)[IDENTIFIER].unique(maintain_order=True)),
        unusable=tuple(unusable),
    )
