"""The codes of a meter counted together: of a row's faults Stripe counts one, and which is ours to assume.

Where one code has fewer rows than are predicted and another as many more, the numbers agree over both, and all rows
are refused ones, whichever code each was counted under. A row that Stripe names tells the order for the next time.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl

from workers.kernel.ledger.case import Case
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import FOUND_BY
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.reasons import NOT_IN_SOURCES
from workers.pipeline.context import Context
from workers.pipeline.locate.elsewhere import twins
from workers.pipeline.locate.judge import Judged, Verdict
from workers.pipeline.locate.missing import missing, perhaps_ours
from workers.pipeline.locate.predict import BEFORE, CODES, PREDICTED
from workers.pipeline.locate.suspects import PLACE, Suspects, find_suspects, of_one_meter, unclaimed
from workers.pipeline.record_sets import FINDING, scan
from workers.records.identifiers import is_nameless


def judge_across_codes(context: Context, held: HeldCase) -> tuple[Judged, Suspects] | None:
    """Judge the rows of all codes of the case's meter by the count of all; None where that says nothing.

    The cases are those whose windows overlap this one's. Raises as `find_suspects` does.
    """
    beside = [(case, context.ledger.queries.entries(case.id)) for case in _beside(context, held.case)]
    told = [(held.case, held.journal), *beside]
    counted = {case.failure.code or "": missing(journal).total() for case, journal in told}
    if not beside or len(counted) < len(told) or any(_is_in_doubt(journal) for _, journal in told):
        return None
    windows = [(case.failure.window_start or "", case.failure.window_end or "") for case, _ in told]
    start, end = min(start for start, _ in windows), max(end for _, end in windows)
    joint = replace(held.case.failure, window_start=start, window_end=end)
    suspects = find_suspects(context, joint, counted)
    if suspects is None:
        return None
    for case, journal in told:
        _note_order(context, case, journal, suspects.rows)
    free = unclaimed(context, held.case, suspects.rows)
    if free.height != sum(counted.values()) or twins(free).height or free.filter(is_nameless()).height:
        return None
    share = _share(free, held.case.failure.code or "", counted)
    return None if share is None else (Judged(Verdict.ACROSS_CODES, share), suspects)


def _is_in_doubt(journal: Sequence[EntryRow]) -> bool:
    """Tell whether records that are counted may be ours, or are named and stand in no source."""
    return bool(perhaps_ours(journal) or missing(journal)[NOT_IN_SOURCES])


def _beside(context: Context, case: Case) -> Iterator[Case]:
    """Yield the cases of the meter's other codes whose windows overlap the case's."""
    mine = case.failure
    if mine.meter_id is None or mine.window_start is None or mine.window_end is None:
        return
    for other in of_one_meter(context, case):
        start, end = other.failure.window_start or "", other.failure.window_end or ""
        if other.failure.code != mine.code and start < mine.window_end and mine.window_start < end:
            yield other


def _share(free: pl.DataFrame, code: str, counted: Mapping[str, int]) -> pl.DataFrame | None:
    """Return as many rows as the code has counted: its own, less or more those that others can have, or it can."""
    predicted = Counter(free[PREDICTED])
    surplus = {one: predicted[one] - count for one, count in counted.items()}
    own = free.filter(pl.col(PREDICTED) == code)
    if surplus[code] >= 0:
        short = [one for one, more in surplus.items() if more < 0]
        given = own.filter(pl.col(CODES).list.set_intersection(short).list.len() > 0).head(surplus[code])
        kept = own.join(given.select(PLACE), on=PLACE, how="anti", nulls_equal=True, maintain_order="left")
        return kept if kept.height == counted[code] else None
    can_be = free.filter((pl.col(PREDICTED) != code) & pl.col(CODES).list.contains(code))
    spare = [can_be.filter(pl.col(PREDICTED) == one).head(max(0, more)) for one, more in surplus.items()]
    share = pl.concat([own, *spare]).head(counted[code])
    return share if share.height == counted[code] else None


def _note_order(context: Context, case: Case, journal: Sequence[EntryRow], rows: pl.DataFrame) -> None:
    """Keep which code Stripe has counted first in rows that it has named and of which we expected another."""
    code = case.failure.code or ""
    others = rows.filter((pl.col(PREDICTED) != code) & pl.col(CODES).list.contains(code))
    for entry in journal if others.height else ():
        if entry.kind in FINDING and entry.ref and entry.event_id and FOUND_BY not in entry.detail:
            named = others.join(scan(context, entry.ref).select(PLACE).collect(), on=PLACE, nulls_equal=True)
            seen = [f"{code}{BEFORE}{later}" for later in named[PREDICTED].unique().sort()]
            context.ledger.fault_kinds.note(case.failure.account, seen, entry.event_id)
