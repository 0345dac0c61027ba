"""The rows of the sender's usage that Stripe must have refused under a case's code, and that no case has yet."""

import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import polars as pl

from workers.kernel.clock import CLOCKS_DIFFER, from_text
from workers.kernel.codes import Code
from workers.kernel.errors import FileUnusable, Permanent
from workers.kernel.ledger.case import Case, Failure
from workers.kernel.ledger.journal import RecordSetRef
from workers.pipeline.context import Context
from workers.pipeline.fault_kinds import KIND
from workers.pipeline.locate.predict import BEFORE, CERTAIN, CODES, PREDICTED, TOLD, Prediction
from workers.pipeline.lookups import meters_of
from workers.pipeline.record_sets import FINDING, PART_RECORDS, scan
from workers.records.schema import IDENTIFIER, REQUIRED_COLUMNS, ROW, SOURCE, TIMESTAMP, WRITTEN, empty_frame
from workers.sources import Candidate, UsageSources
from workers.stripe_api.protocol import existing

PLACE: Final = (SOURCE, ROW, IDENTIFIER, TIMESTAMP)
"""What tells one row of the sender's from another: it is claimed by one case at most."""
_MOST_KEPT: Final = 500_000
"""Places of record sets that are kept: some 50 MB."""
_known_places: dict[RecordSetRef, pl.DataFrame] = {}
"""Those that were asked for last, by any job of this process."""
_turn: Final = threading.Lock()


@dataclass(frozen=True, eq=False)
class Suspects:
    """`rows` are predicted, `files` were looked through; `unusable` has a line for each that could not be.

    `has_several_faults`: some rows break the rules of several codes, this failure's among them.
    """

    rows: pl.DataFrame
    prediction: Prediction
    files: Sequence[Candidate] = ()
    unusable: tuple[str, ...] = ()
    has_several_faults: bool = False


def find_suspects(context: Context, failure: Failure, codes: Collection[str] = ()) -> Suspects | None:
    """Go through the files that can have been validated in the case's windows; None where nothing can be predicted.

    Rows of the failure's own code are looked for, or of `codes`.
    Raises Transient, Permanent and SettingsUnusable as Stripe's API and the stores do.
    """
    meters = meters_of(context, failure.account)
    meter = next((meter for meter in meters if failure.meter_id and meter.id == failure.meter_id), None)
    if failure.window_start is None or failure.window_end is None or (meter is None and failure.meter_id):
        return None
    start, end = from_text(failure.window_start), from_text(failure.window_end)
    archived = failure.code == Code.ARCHIVED_METER
    codes, order = codes or [failure.code or ""], _order_seen(context, failure)
    prediction = Prediction(meter, meters, start, context.clock(), archived=archived, order=order)
    names = None if meter is None else [meter.event_name]
    sources = context.sources_of(failure.account)
    candidates = sources.candidates(names, start - context.validation_delay, end)
    reading = _Reading(sources, candidates.files, names, list(candidates.unusable))
    if Code.CUSTOMER_NOT_FOUND in codes:
        prediction = knowing(context, failure, prediction, reading.customers(prediction))
    refused = _joined(map(prediction.refused, reading.parts(prediction)))
    if prediction.customers is None and meter is not None and not archived:
        # A customer is judged before a value: who names none that exists is counted under that code.
        prediction = knowing(context, failure, prediction, prediction.customers_of(refused))
        refused = prediction.refused(refused.drop(TOLD, strict=False))
    rows = refused.filter(pl.col(PREDICTED).is_in(list(codes)))
    several = refused.filter((pl.col(CODES).list.len() > 1) & pl.col(CODES).list.contains(failure.code or ""))
    unusable = tuple(dict.fromkeys(reading.unusable))
    return Suspects(rows, prediction, candidates.files, unusable, several.height > 0)


def _order_seen(context: Context, failure: Failure) -> tuple[tuple[str, str], ...]:
    """Return the pairs of codes of which Stripe was seen to count the one first."""
    seen = sorted(kind for kind in context.ledger.fault_kinds.trusted(failure.account) if BEFORE in kind)
    return tuple((earlier, later) for earlier, _, later in (kind.partition(BEFORE) for kind in seen))


@dataclass
class _Reading:
    """Files of the sender's, read part by part; those that cannot be read are noted and passed over."""

    sources: UsageSources
    files: Sequence[Candidate]
    names: Sequence[str] | None
    unusable: list[str]

    def parts(self, prediction: Prediction) -> Iterator[pl.DataFrame]:
        """Yield rows to be judged, many at a time."""
        gathered: list[pl.DataFrame] = []
        for rows in self._rows(prediction):
            gathered.append(rows)
            if sum(one.height for one in gathered) >= PART_RECORDS:
                yield pl.concat(gathered, how="diagonal")
                gathered.clear()
        if gathered:
            yield pl.concat(gathered, how="diagonal")

    def _rows(self, prediction: Prediction) -> Iterator[pl.DataFrame]:
        """Yield the rows to be judged: all, where it does not hang on the row whether Stripe refuses it."""
        meter, standard = prediction.meter, prediction.standard
        for file in self.files:
            with self._noted():
                if meter is None or prediction.archived:
                    yield from self.sources.rows_of(file, self.names)
                else:
                    yield from self.sources.doubtful(file, meter.event_name, standard)

    def customers(self, prediction: Prediction) -> pl.Series:
        """Return the customers that the rows name, each once; none where no meter tells where they stand."""
        found = [pl.Series(dtype=pl.String)]
        if prediction.meter is None:
            return found[0]
        for file in self.files:
            with self._noted():
                found.append(self.sources.customers(file, prediction.meter.event_name, prediction.catalog))
        return pl.concat(found).unique()

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except (FileUnusable, Permanent) as error:
            self.unusable.append(str(error))


def _joined(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    none = empty_frame((*REQUIRED_COLUMNS, WRITTEN)).with_columns(
        pl.lit(None, pl.String).alias(PREDICTED),
        pl.lit(None, pl.List(pl.String)).alias(CODES),
        pl.lit(None, pl.String).alias(KIND),
        pl.lit(None, pl.Boolean).alias(CERTAIN),
    )
    return pl.concat([none, *(frame for frame in frames if frame.height)], how="diagonal")


def knowing(context: Context, failure: Failure, prediction: Prediction, named: pl.Series) -> Prediction:
    """Return a prediction that knows which of the named customers existed when the last window closed.

    A customer of our own v2 accounts may exist though we cannot see him; he is no stranger.
    """
    found = context.stripe.find_customers(named.unique().to_list(), failure.account) if named.len() else {}
    end = from_text(failure.window_end or "")
    existed = [name for name, one in existing(found).items() if one.made is None or one.made <= end]
    strangers = named.filter(~named.is_in(list(found)) & ~named.str.starts_with("acct_"))
    return replace(prediction, customers=pl.Series(existed, dtype=pl.String), strangers=strangers)


def unclaimed(context: Context, case: Case, suspects: pl.DataFrame) -> pl.DataFrame:
    """Return the suspects that stand in no case's journal, neither in this one's."""
    if suspects.is_empty():
        return suspects
    earliest = suspects[WRITTEN].min()
    assert isinstance(earliest, datetime)
    sets = context.ledger.queries.sets_since(earliest - CLOCKS_DIFFER, case.failure.account, FINDING)
    claimed = pl.concat([suspects.select(PLACE).clear(), *(_places(context, ref) for ref in sets)])
    return suspects.join(claimed, on=PLACE, how="anti", nulls_equal=True, maintain_order="left")


def _places(context: Context, ref: RecordSetRef) -> pl.DataFrame:
    """Return the places of a record set's rows; a set never changes, so its places are kept for the next look."""
    with _turn:
        known = _known_places.pop(ref, None)
    places = scan(context, ref).select(PLACE).collect() if known is None else known
    with _turn:
        _known_places[ref] = places
        while len(_known_places) > 1 and sum(one.height for one in _known_places.values()) > _MOST_KEPT:
            del _known_places[next(iter(_known_places))]
    return places


def rivals(context: Context, case: Case) -> list[str]:
    """Return the cases before this one that could claim the same rows: while one of them does, it must not."""
    return [other.id for other in of_one_meter(context, case) if other.id < case.id]


def of_one_meter(context: Context, case: Case) -> list[Case]:
    """Return the other cases of the meter's reports that have changed since rows of this case were validated."""
    mine = case.failure
    validated = from_text(mine.window_start) if mine.window_start else case.opened_at
    since = min(case.opened_at, validated) - 2 * context.validation_delay
    about = mine.kind, mine.meter_id
    changed = context.ledger.queries.changed_since(since, mine.account)
    return [other for other in changed if (other.failure.kind, other.failure.meter_id) == about and other != case]
