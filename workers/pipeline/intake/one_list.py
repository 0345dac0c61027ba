"""Which failure a failed-records file is of, where Stripe and a person, or two persons, tell of the same one.

Stripe's event names the import set; a file that somebody gives names nothing. What it says is the same however it
came: so whoever tells it first decides whose failure it is and what stands for its content, in one commit, and who
tells it again joins. Two import sets stay two failures: their sender has uploaded the same file twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any, Final

import polars as pl

from workers.kernel.ledger.case import Failure
from workers.pipeline.context import Context
from workers.pipeline.intake.failed_rows import NUMBERED
from workers.records.identifiers import content
from workers.records.schema import IDENTIFIER, REQUIRED_COLUMNS, ROW, with_columns_of

_SPACE: Final = 2**256
_TOLD: Final = "failed_records"


@dataclass(frozen=True)
class _Telling:
    """Who told a list first: the failure's `key`, its import set where that is known, and the list's `source`."""

    key: str
    import_set: str | None
    source: str


def one_list(context: Context, own: Failure, rows: Iterable[pl.DataFrame], source: str) -> tuple[Failure, str]:
    """Return the failure that the list is of, and what stands for its content in identifiers that are made.

    Both are `own` and `source` where nobody has told the list before. Raises LedgerUnavailable.
    """
    mine = _Telling(own.key, own.import_set_id, source)

    def decision(there: Mapping[str, Any] | None) -> Mapping[str, Any]:
        first = _Telling(**there) if there else mine
        if first.import_set is None and mine.import_set is not None:
            first = replace(first, import_set=mine.import_set)
        return asdict(first)

    name = f"{_TOLD}:{own.account or ''}:{_digest(rows)}"
    first = _Telling(**context.ledger.checkpoints.decide(name, decision))
    if mine.import_set not in (None, first.import_set):
        return own, source
    return replace(own, key=first.key, import_set_id=first.import_set), first.source


def _digest(rows: Iterable[pl.DataFrame]) -> str:
    """Return what stands for what all rows say, whatever their order and the form of the file around them."""
    told = 0
    for frame in rows:
        known = with_columns_of(frame, REQUIRED_COLUMNS)
        number = pl.when(NUMBERED).then(pl.col(ROW).cast(pl.String))
        cells = pl.concat_list(number.fill_null(""), pl.col(IDENTIFIER).fill_null(""), content(known.columns))
        for line in known.select(cells.list.join("\n")).to_series():
            told += int.from_bytes(sha256(line.encode()).digest())
    return f"{told % _SPACE:064x}"
