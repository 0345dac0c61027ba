"""The count is the judge: what is predicted is compared with what Stripe says that it refused."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from workers.pipeline.fault_kinds import KIND
from workers.pipeline.locate.predict import CERTAIN
from workers.records.identifiers import is_nameless


class Verdict(StrEnum):
    """How many rows are predicted, beside how many records are still without rows.

    `ACROSS_CODES`: as many as are counted under all codes of the meter.
    """

    EXACT = "exact"
    ACROSS_CODES = "across_codes"
    UNDER = "under"
    OVER = "over"
    NONE = "none"
    CONTRADICTED = "contradicted"
    FAILED = "failed"


@dataclass(frozen=True, eq=False)
class Judged:
    """What the count says of the suspects, and which of them may be resubmitted."""

    verdict: Verdict
    found: pl.DataFrame


def judge(
    suspects: pl.DataFrame, missing: int, strangers: int, kinds: Collection[str], doubtful: int = 0
) -> Judged:
    """Judge the suspects that no case has claimed yet by the `missing` records that are counted without rows.

    `strangers` is how many of those Stripe names by an identifier that no usage file has: only rows without one can
    be they. `kinds` are the kinds of faults that Stripe has been seen to refuse. `doubtful` more are counted
    that may be ours, or predicted that may be copies: then no number is exact.

    - as many as are missing: all of them are the refused ones;
    - fewer: those that Stripe can never have accepted, as far as their kind is known, the others stay unexplained;
    - more: nobody can tell which.
    """
    nameless = suspects.filter(is_nameless()).height
    if suspects.is_empty() or missing == 0:
        return Judged(Verdict.NONE, suspects.clear())
    if suspects.height > missing + doubtful:
        return Judged(Verdict.OVER, suspects.clear())
    if suspects.height == missing and not doubtful and strangers <= nameless:
        return Judged(Verdict.EXACT, suspects)
    if suspects.height == missing and not doubtful:
        return Judged(Verdict.CONTRADICTED, suspects.clear())
    sure = suspects.filter(pl.col(CERTAIN) & pl.col(KIND).is_in(list(kinds)))
    return Judged(Verdict.UNDER, sure.head(missing))
