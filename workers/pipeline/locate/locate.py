"""Finding every refused record of a case: looking, comparing with the count, and writing down what may go.

Stripe counts what it refused and names samples. The records that are counted only wait without rows
(`unlocated`); a look takes as many of them as it can name out of that count, and says of the rest what it saw.
Looks come at once after a report, ten times as far apart as one takes, and ever more rarely while files may still
turn up.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

import polars as pl

from workers.kernel.clock import from_text, to_text
from workers.kernel.errors import InputUnusable, Permanent, Transient
from workers.kernel.ledger.case import VALIDATION_REPORT, Failure
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import FOUND_BY, EntryKind, Found, Movement
from workers.kernel.logs import get_logger
from workers.kernel.reasons import NOT_IN_SOURCES, NOT_SAMPLED
from workers.pipeline.context import Context, heartbeat
from workers.pipeline.fault_kinds import KIND
from workers.pipeline.intake.open_case import found_now, fresh, located_rows
from workers.pipeline.intake.unlocated import shared_out
from workers.pipeline.locate.across_codes import judge_across_codes
from workers.pipeline.locate.elsewhere import hold_taken, twins
from workers.pipeline.locate.judge import Judged, Verdict, judge
from workers.pipeline.locate.missing import missing, perhaps_ours
from workers.pipeline.locate.predict import TOLD
from workers.pipeline.locate.proof import agreed, ask, proved, strike_off
from workers.pipeline.locate.suspects import PLACE, Suspects, find_suspects, rivals, unclaimed
from workers.pipeline.locate.words import advice
from workers.pipeline.record_sets import DATA
from workers.pipeline.totals.sender_totals import settled_by
from workers.pipeline.totals.witness import WORDS
from workers.pipeline.upkeep.retry import LOOK_AGAIN
from workers.records.schema import CODE, MESSAGE, WRITTEN, with_columns_of

log = get_logger(__name__)

BREATHERS: Final = 10
"""So many times as long as a look took, the next one waits while reports keep coming: it goes through the files."""
SHORTEST_PAUSE: Final = timedelta(seconds=1)
LONGEST_PAUSE: Final = timedelta(minutes=5)
FIRST_WAIT: Final = timedelta(hours=1)
"""Until the sources are looked through again without a new report; from then on twice as long each time."""
AFTER_FAILURE: Final = timedelta(minutes=1)
"""Until a look that failed is tried again; from then on twice as long, up to an hour."""
LOOK: Final = "look"
"""What a look saw, in an entry's detail."""
_AGAIN: Final = "again"
"""In it, when rows can be asked about that wait for Stripe's totals."""
_AGREED: Final = (Verdict.EXACT, Verdict.ACROSS_CODES)


def next_look(context: Context, held: HeldCase) -> datetime | None:
    """Return when the sources are to be looked through for the case, None for never; the past where it is due."""
    failure = held.case.failure
    if failure.kind != VALIDATION_REPORT or failure.window_end is None or not missing(held.journal):
        return None
    looks = [entry for entry in held.journal if LOOK in entry.detail]
    if not looks:
        return held.case.opened_at
    last = looks[-1]
    since = [entry for entry in held.journal if entry.number > last.number]
    if any(LOOK_AGAIN in entry.detail for entry in since):
        return last.at
    if any(entry.kind == EntryKind.SEEN for entry in since):
        took = timedelta(seconds=last.detail[LOOK]["took"])
        return last.at + min(max(SHORTEST_PAUSE, BREATHERS * took), LONGEST_PAUSE)
    if _AGAIN in last.detail[LOOK]:
        return from_text(last.detail[LOOK][_AGAIN])
    waited = last.at - looks[-2].at if len(looks) > 1 else timedelta(0)
    failed = last.detail[LOOK]["verdict"] == Verdict.FAILED
    again = last.at + (min(max(AFTER_FAILURE, 2 * waited), FIRST_WAIT) if failed else max(FIRST_WAIT, 2 * waited))
    return again if again <= from_text(failure.window_end) + context.validation_delay else None


def locate(context: Context, held: HeldCase) -> None:
    """Look through the sources and write down which of the records that are only counted can be named now.

    Raises Conflict while another case claims rows that this one could.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        leases = (context.owner, context.lease)
        earlier = [
            stack.enter_context(context.ledger.cases.hold(one, *leases)) for one in rivals(context, held.case)
        ]
        with heartbeat(context, partial(_renew, earlier)):
            moves = _looked(context, held, started)
        _renew(earlier)
        with held.transaction() as transaction:
            transaction.move(*moves)


def _renew(cases: Sequence[HeldCase]) -> None:
    for case in cases:
        case.renew()


def _looked(context: Context, held: HeldCase, started: float) -> list[Movement]:
    """Return what a look writes down. One that fails must not keep back what Stripe names itself."""
    try:
        suspects = find_suspects(context, held.case.failure)
        return list(_moves(context, held, suspects, started))
    except (Transient, Permanent, InputUnusable) as error:
        log.warning("look_failed", case_id=held.case.id, error=str(error))
        return [_look({"verdict": Verdict.FAILED}, started, f"They could not be looked for: {error}.")]


def _moves(context: Context, held: HeldCase, suspects: Suspects | None, started: float) -> Iterator[Movement]:
    if suspects is None:
        yield _look({"verdict": Verdict.NONE}, started)
        return
    failure, counted = held.case.failure, missing(held.journal)
    all_free = unclaimed(context, held.case, suspects.rows)
    doubled = twins(all_free)
    free = all_free.join(doubled.select(PLACE), on=PLACE, how="anti", nulls_equal=True, maintain_order="left")
    doubtful = perhaps_ours(held.journal) + doubled.height
    trusted = context.ledger.fault_kinds.trusted(failure.account)
    judged = judge(free, counted.total(), counted[NOT_IN_SOURCES], trusted, doubtful)
    if judged.verdict in {Verdict.UNDER, Verdict.OVER, Verdict.NONE} and suspects.has_several_faults:
        judged, suspects = judge_across_codes(context, held) or (judged, suspects)
    first, left = located_rows(context, held.journal).height, counted
    for how, rows in _found(context, failure, suspects, judged, free, counted.total()):
        if rows.height:
            refused = fresh(_as_refused(context, failure, rows, suspects), first=first, refused_as=DATA)
            taken = shared_out(left, rows.height)
            yield from found_now(context, failure, refused.lazy(), taken, detail={FOUND_BY: how})
            first, left = first + rows.height, left - taken
    seen, said = _seen(judged, free, counted, suspects), None
    if left.total():
        totals_at = from_text(failure.window_end or "") + timedelta(seconds=context.settings.totals_delay)
        said = advice(failure.code, judged.verdict, free, counted.total(), suspects, totals_at)
        seen |= {_AGAIN: to_text(totals_at)} if judged.verdict in _AGREED else {}
    yield _look(seen, started, said)


def _found(
    context: Context, failure: Failure, suspects: Suspects, judged: Judged, free: pl.DataFrame, counted: int
) -> Iterator[tuple[Found, pl.DataFrame]]:
    """Yield the rows that may be claimed, by how they are known; what looks billed waits for a person."""
    meter = suspects.prediction.meter
    how = Found.EXACT if judged.verdict in _AGREED else Found.CERTAIN
    yield how, agreed(context, failure, meter, judged.found)
    if judged.verdict in {Verdict.UNDER, Verdict.OVER} and from_text(failure.window_end or "") <= settled_by(
        context
    ):
        rest = free.join(judged.found.select(PLACE), on=PLACE, how="anti", nulls_equal=True, maintain_order="left")
        told = ask(context, failure, meter, rest)
        strike_off(context, failure, told)
        yield Found.PROVED, proved(context, told, counted - judged.found.height)


def _as_refused(context: Context, failure: Failure, found: pl.DataFrame, suspects: Suspects) -> pl.DataFrame:
    """Return rows as Stripe's refusal has them; with a reason to wait where another file may have billed them."""
    rows = found.drop(*TOLD, *WORDS, strict=False).with_columns(pl.lit(failure.code).alias(CODE))
    records = with_columns_of(rows, [MESSAGE])
    return hold_taken(context, failure, records, suspects.prediction).drop(WRITTEN)


def _seen(judged: Judged, free: pl.DataFrame, counted: Counter[str], suspects: Suspects) -> dict[str, Any]:
    return {
        "verdict": judged.verdict,
        "predicted": free.height,
        "counted": counted.total(),
        "looked_through": len(suspects.files),
        "kinds": dict(free.group_by(KIND).len().sort("len", KIND, descending=[True, False]).iter_rows()),
    }


def _look(seen: dict[str, Any], started: float, said: str | None = None) -> Movement:
    """Return the entry that says what a look saw, how many seconds it took, and what is told of the rest."""
    detail: dict[str, Any] = {LOOK: {**seen, "took": round(time.monotonic() - started, 3)}}
    if said is not None:
        detail["suggestions"] = {NOT_SAMPLED: said}
    return Movement(EntryKind.NOTED, None, None, 0, Decimal(0), detail=detail)
