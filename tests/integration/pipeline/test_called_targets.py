"""Corrected usage that goes by a call, from the refusal to the proof that it counts."""

from dataclasses import replace
from decimal import Decimal
from functools import partial

import pytest

from fixtures.twin.metronome import SEARCH, TOKEN
from tests.integration.pipeline.loop import Loop, usage
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.unconfirmed import unconfirmed
from workers.kernel.reasons import NOT_BILLED_THERE
from workers.kernel.timeline import sentence_of
from workers.pipeline.audit.prove import prove
from workers.pipeline.desk import desk
from workers.pipeline.undo.cancel import undoable
from workers.pipeline.undo.reverse import counter_enter
from workers.pipeline.upkeep.retry import retry_case
from workers.targets import Target
from workers.targets.meter_event_stream import MeterEventStreamTarget
from workers.targets.metronome import MetronomeTarget
from workers.targets.metronome_api import MetronomeApi

MENDED = usage("use-1,{t},api_requests, cus_1,40", "use-2,{t},api_requests,cus_1,2")
"""One record whose customer Stripe refuses for a blank, and one that it takes."""


def test_what_goes_by_the_stream_is_confirmed_by_stripes_totals(loop: Loop) -> None:
    """The stream answers nothing: without another proof, usage that never arrived would count as recovered."""
    submit_to(loop, MeterEventStreamTarget(loop.context.stripe, loop.clock))
    loop.upload("day.csv", MENDED)
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "42"}
    assert [entry.detail["by"] for entry in confirmations(loop)] == ["summaries"]


def test_what_the_stream_refuses_later_is_taken_back_from_what_was_sent(loop: Loop) -> None:
    """A customer may be gone when the call is validated: the usage would be called recovered, and be lost."""
    submit_to(loop, None)
    loop.upload("day.csv", usage("use-1,2026-11-20T10:00:00Z,api_requests,cus_1,40"))
    loop.lose_customer("cus_1")
    submit_to(loop, MeterEventStreamTarget(loop.context.stripe, loop.clock))
    loop.clock.turn(hours=1)
    loop.work()
    assert loop.balance[Bucket.SUBMITTED].records == 1
    loop.stripe_works()
    assert loop.balance[Bucket.SUBMITTED].records == 0
    assert loop.balance.failed.records == 1
    assert [refused.identifier for refused in loop.twin.refused()] == ["use-1"]


def test_what_goes_to_metronome_is_confirmed_by_what_it_counts(loop: Loop) -> None:
    """Stripe refuses nothing of it and its totals do not grow: its silence would prove whatever was lost there."""
    metronome(loop, "cus_1")
    loop.upload("day.csv", MENDED)
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "2"}
    assert loop.twin.world.metronome.billed() == {("api_requests", "cus_1"): Decimal(40)}
    [told] = confirmations(loop)
    assert (told.detail["by"], told.detail["proof"]["counted"]) == ("target", 1)
    assert sentence_of(told) == "1 record is confirmed: Metronome says so"


def test_what_metronome_bills_to_nobody_waits_for_a_person_and_then_counts_once(loop: Loop) -> None:
    """Metronome takes usage of a customer that it does not know without a word."""
    metronome(loop)
    loop.upload("day.csv", MENDED)
    loop.pass_window()
    [case] = loop.cases()
    assert loop.balance[Bucket.QUARANTINED].records == 1
    assert loop.ledger.queries.entries(case.id)[-1].detail["reasons"] == {NOT_BILLED_THERE: 1}

    to_metronome = loop.context.target
    submit_to(loop, MeterEventStreamTarget(loop.context.stripe, loop.clock))
    release = "release", case.id, {"cases": [case.id]}
    _, effect = desk.ask(loop.context, *release, actor="Ada", why="we are back at Stripe")
    assert any("billed by both" in warning for warning in effect.warnings)
    submit_to(loop, to_metronome)

    loop.twin.world.metronome.aliases.add("cus_1")
    act, effect = desk.ask(loop.context, *release, actor="Ada", why="named the alias")
    assert not effect.warnings
    desk.approve(loop.context, act, "Ada")
    loop.work()
    loop.pass_window()
    assert loop.balance[Bucket.CONFIRMED].records == 1
    assert loop.twin.world.metronome.billed() == {("api_requests", "cus_1"): Decimal(40)}


def test_what_metronome_does_not_show_is_told_and_counts_when_it_does(loop: Loop) -> None:
    """What got lost there would be called recovered; what shows late would be billed once more."""
    metronome(loop, "cus_1")
    loop.twin.configure(summary_lag=1e6)
    loop.upload("day.csv", MENDED)
    for _ in range(12):
        loop.pass_window()
        loop.clock.turn(hours=1)
    [case] = loop.cases()
    journal = loop.ledger.queries.entries(case.id)
    assert (unconfirmed(journal), loop.balance[Bucket.SUBMITTED].records) == (1, 1)
    said = [sentence_of(entry) for entry in journal]
    assert said.count("Metronome does not show all of what was sent: the rest is unconfirmed") == 1
    loop.twin.configure(summary_lag=0.0)
    loop.clock.turn(days=1)
    loop.work()
    assert loop.balance[Bucket.CONFIRMED].records == 1


def test_of_a_submission_what_shows_is_confirmed_and_the_rest_looked_for(loop: Loop) -> None:
    metronome(loop, "cus_1", "cus_2")
    loop.upload("day.csv", usage("use-1,{t},api_requests, cus_1,40", "use-2,{t},api_requests, cus_2,2"))
    missing = loop.twin.world.metronome.ingested.pop()
    loop.pass_window()
    assert (loop.balance[Bucket.CONFIRMED].records, loop.balance[Bucket.SUBMITTED].records) == (1, 1)
    loop.twin.world.metronome.ingested.append(missing)
    loop.clock.turn(hours=1)
    loop.work()
    assert loop.balance[Bucket.CONFIRMED].records == 2
    assert_proved(loop)


def test_what_never_shows_ends_before_a_person_and_what_was_confirmed_stays_so(loop: Loop) -> None:
    metronome(loop, "cus_1", "cus_2")
    loop.upload("day.csv", usage("use-1,{t},api_requests, cus_1,40", "use-2,{t},api_requests, cus_2,2"))
    loop.twin.world.metronome.ingested.pop()
    loop.pass_window()
    loop.clock.turn(days=35)
    loop.work()
    assert (loop.balance[Bucket.CONFIRMED].records, loop.balance[Bucket.QUARANTINED].records) == (1, 1)
    assert_proved(loop)


def test_what_metronome_bills_is_taken_back_there_and_by_nobody_else(loop: Loop) -> None:
    """Stripe would pay back what it has not billed, and Metronome go on billing it."""
    metronome(loop, "cus_1")
    loop.upload("day.csv", MENDED)
    loop.pass_window()
    [one] = undoable(loop.context, loop.cases()[0].id)
    assert not one.fresh, "Stripe has nothing to cancel"
    to_metronome = loop.context.target
    submit_to(loop, MeterEventStreamTarget(loop.context.stripe, loop.clock))
    with pytest.raises(InputUnusable, match="went to metronome"):
        counter_enter(loop.context, one.submission, approved_by="ada")
    submit_to(loop, to_metronome)
    counter_enter(loop.context, one.submission, approved_by="ada")
    submit_to(loop, MeterEventStreamTarget(loop.context.stripe, loop.clock))
    loop.work()
    assert loop.billed() == {("api_requests", "cus_1"): "2"}
    submit_to(loop, to_metronome)
    [stuck] = loop.ledger.queries.stuck_cases()
    retry_case(loop.context, stuck.id)
    loop.work()
    assert loop.twin.world.metronome.billed() == {("api_requests", "cus_1"): Decimal(0)}
    assert loop.billed() == {("api_requests", "cus_1"): "2"}


def test_nothing_is_confirmed_while_submit_to_leads_elsewhere_or_metronome_is_away(loop: Loop) -> None:
    """Stripe's silence, or its totals, would confirm what it has never seen."""
    metronome(loop, "cus_1")
    loop.upload("day.csv", MENDED)
    to_metronome = loop.context.target
    submit_to(loop, MeterEventStreamTarget(loop.context.stripe, loop.clock))
    loop.pass_window()
    submit_to(loop, to_metronome)
    loop.twin.fail_next("status", path=SEARCH, status=503, times=4)
    loop.clock.turn(hours=1)
    loop.work()
    assert loop.balance[Bucket.SUBMITTED].records == 1
    loop.clock.turn(days=1)
    loop.work()
    assert loop.balance[Bucket.CONFIRMED].records == 1


def assert_proved(loop: Loop) -> None:
    assert [proof for proof in prove(loop.ledger, loop.context.archive) if proof.breach] == []


def submit_to(loop: Loop, target: Target | None) -> None:
    loop.context = replace(loop.context, target=target)


def metronome(loop: Loop, *aliases: str) -> None:
    """Let the company's usage go to Metronome, which knows these customers."""
    api = MetronomeApi(loop.twin.url, TOKEN, sleep=lambda _: None)
    submit_to(loop, MetronomeTarget(api, partial(loop.context.stripe.list_meters, None), loop.clock))
    loop.twin.world.metronome.aliases = set(aliases)


def confirmations(loop: Loop) -> list[EntryRow]:
    entries = (entry for case in loop.cases() for entry in loop.ledger.queries.entries(case.id))
    return [entry for entry in entries if entry.to_bucket == Bucket.CONFIRMED]
