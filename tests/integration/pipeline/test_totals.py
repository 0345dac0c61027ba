"""Against the twin of Stripe: if these fail, its totals are misread, and what was billed is sent again."""

import os
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from tests.integration.pipeline.loop import Loop, usage
from workers.pipeline.audit.audit_walk import Question, Walk
from workers.pipeline.audit.totals_check import Verdict
from workers.pipeline.lookups import meters_of
from workers.pipeline.totals.witness import BILLED, PROVED, WITNESS, witness
from workers.records.schema import IDENTIFIER


@pytest.fixture
def later(loop: Loop) -> Loop:
    """A day and a half after three uploads: one row was refused, and one file never arrived."""
    loop.context = replace(loop.context, target=None)
    loop.sources.mkdir()
    lost = loop.sources / "never-arrived.csv"
    lost.write_text(usage("i5,{t},api_requests,cus_2,3"))
    os.utime(lost, times=(loop.clock().timestamp(),) * 2)
    loop.upload("a.csv", usage("i1,{t},api_requests,cus_1,0.1", "i2,{t},api_requests,cus_1,0.2"))
    loop.upload("b.csv", usage("i3,{t},api_requests,cus_2,7", "i4,{t},api_requests,cus_gone,9"))
    loop.clock.turn(hours=36)
    loop.twin.clock.advance(timedelta(hours=36).total_seconds())
    return loop


def test_what_stripe_took_in_is_equal_and_what_never_arrived_is_missing(later: Loop) -> None:
    """Of the refused row an event has told: it waits in its case, and is no difference."""
    compared = [one.compared for one in Walk(later.context, Question()).findings() if one.compared]
    assert {one.customer: one.verdict for one in compared} == {"cus_1": Verdict.EQUAL, "cus_2": Verdict.MISSING}
    assert compared[-1].why.startswith("i5 (")


def test_the_witness_tells_a_billed_record_from_a_refused_one(later: Loop) -> None:
    meter = next(one for one in meters_of(later.context, None) if one.event_name == "api_requests")
    start, end = later.clock() - timedelta(days=5), later.clock()
    rows = list(later.context.sources.rows([meter.event_name], start, end))
    for identifier, word in (("i1", BILLED), ("i4", PROVED)):
        claimed = pl.concat([frame.filter(pl.col(IDENTIFIER) == identifier) for frame in rows], how="diagonal")
        assert witness(later.context, None, meter, claimed, rows)[WITNESS].to_list() == [word]
