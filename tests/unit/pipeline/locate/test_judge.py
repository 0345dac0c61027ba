"""The count is the judge. If these fail, accepted usage is sent again, or refused usage waits for ever."""

import polars as pl
import pytest

from workers.pipeline.fault_kinds import KIND
from workers.pipeline.locate.judge import Verdict, judge
from workers.pipeline.locate.predict import CERTAIN
from workers.records.schema import IDENTIFIER

BLANKS, GONE = "blanks", "gone"


def suspects(*kinds: tuple[str, bool], nameless: int = 0) -> pl.DataFrame:
    names = [None if n < nameless else f"use-{n}" for n in range(len(kinds))]
    schema = {IDENTIFIER: pl.String, KIND: pl.String, CERTAIN: pl.Boolean}
    return pl.DataFrame(
        [(name, *kind) for name, kind in zip(names, kinds, strict=True)], schema=schema, orient="row"
    )


@pytest.mark.parametrize(
    ("rows", "missing", "strangers", "ours", "verdict", "found"),
    [
        ([(GONE, False)] * 3, 3, 0, 0, Verdict.EXACT, 3),
        ([(BLANKS, True)] * 4, 3, 0, 0, Verdict.OVER, 0),
        ([(BLANKS, True)] * 3, 4, 0, 0, Verdict.UNDER, 3),
        ([(BLANKS, True), (GONE, False)], 4, 0, 0, Verdict.UNDER, 1),
        ([("never named", True)] * 3, 4, 0, 0, Verdict.UNDER, 0),
        ([], 4, 0, 0, Verdict.NONE, 0),
        ([(GONE, False)] * 3, 3, 1, 0, Verdict.CONTRADICTED, 0),
        ([(GONE, False)] * 3, 3, 0, 2, Verdict.UNDER, 0),
        ([(BLANKS, True)] * 5, 3, 0, 2, Verdict.UNDER, 3),
        ([(BLANKS, True)] * 6, 3, 0, 2, Verdict.OVER, 0),
    ],
)
def test_never_more_are_found_than_stripe_counts_and_none_in_doubt(
    rows: list[tuple[str, bool]], missing: int, strangers: int, ours: int, verdict: Verdict, found: int
) -> None:
    judged = judge(suspects(*rows), missing, strangers, {BLANKS}, ours)
    assert (judged.verdict, judged.found.height) == (verdict, found)


def test_identifiers_of_stripes_own_can_be_rows_without_one() -> None:
    judged = judge(suspects((GONE, False), (GONE, False), nameless=2), 2, 2, ())
    assert judged.verdict is Verdict.EXACT
