"""If these fail, a customer is billed twice for one record, or a record is lost between two tries."""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.targets.stripe_double import Crash, Kept, Stripe, outgoing
from workers.kernel.errors import Corrupt, Transient
from workers.targets import Held, Outgoing, RefusedRecord, Sent, Withheld
from workers.targets.meter_events import CHUNK, MeterEventsTarget, idempotency_key
from workers.targets.target import RESEND_WITHIN

FAILURES = ["down", "lost", "crash", "crash_before"]


def _target(stripe: Stripe, progress: Kept) -> MeterEventsTarget:
    return MeterEventsTarget(stripe, clock=lambda: progress.now)


def _send_until_done(target: MeterEventsTarget, out: Outgoing, progress: Kept) -> Sent:
    for _ in range(50):
        try:
            return target.send(out, progress)
        except (Transient, Crash):
            progress.now += timedelta(minutes=5)
    raise AssertionError("the submission never ends")


def test_a_record_is_sent_as_stripe_wants_it(tmp_path: Path) -> None:
    stripe, progress = Stripe(), Kept()
    sent = _target(stripe, progress).send(outgoing(tmp_path, 2), progress)
    assert sent == Sent("Stripe's meter events API", accepted=2)
    assert stripe.events["id-1~r2"] == {
        "event_name": "calls", "identifier": "id-1~r2", "timestamp": 1795255578,
        "payload": {"stripe_customer_id": "cus_1", "value": "0.10", "region": "eu"},
    }  # fmt: skip
    assert "region" not in stripe.events["id-0~r2"]["payload"]


@given(
    orders=st.dictionaries(
        st.tuples(st.integers(0, 2 * CHUNK + 20).map(lambda n: f"id-{n}~r2"), st.integers(1, 3)),
        st.sampled_from(FAILURES),
        max_size=12,
    )
)
def test_whatever_fails_each_record_is_recorded_exactly_once(orders: dict[tuple[str, int], str]) -> None:
    records = 2 * CHUNK + 21
    stripe, progress = Stripe(orders), Kept()
    with TemporaryDirectory() as folder:
        sent = _send_until_done(_target(stripe, progress), outgoing(Path(folder), records), progress)
    assert sent.accepted == records
    assert set(stripe.recorded.values()) == {1}
    assert len(stripe.recorded) == records
    assert all(chunk.result is not None for chunk in progress.known.values())


def test_nothing_is_sent_before_its_intent_is_written(tmp_path: Path) -> None:
    """A call without an intent is forgotten by a crash, and made again a day later: billed twice."""
    progress, stripe = Kept(), Stripe()

    class Watching:
        def create_meter_event(self, event: Any, idempotency_key: str, account: str | None) -> Any:
            number = int(event["identifier"][3:-3]) // CHUNK
            assert progress.known[number].result is None
            assert all(progress.known[earlier].result is not None for earlier in range(number))
            return stripe.create_meter_event(event, idempotency_key, account)

    target = MeterEventsTarget(Watching(), clock=lambda: progress.now)
    assert target.send(outgoing(tmp_path, 2 * CHUNK), progress).accepted == 2 * CHUNK


def test_a_finished_chunk_is_never_asked_for_again(tmp_path: Path) -> None:
    stripe, progress = Stripe({(f"id-{CHUNK}~r2", 1): "crash"}), Kept()
    out = outgoing(tmp_path, CHUNK + 1)
    with pytest.raises(Crash):
        _target(stripe, progress).send(out, progress)
    assert _target(stripe, progress).send(out, progress).accepted == CHUNK + 1
    assert {stripe.asked[f"id-{number}~r2"] for number in range(CHUNK)} == {1}
    assert _target(stripe, progress).send(out, progress).accepted == CHUNK + 1
    assert sum(stripe.asked.values()) == CHUNK + 2


def test_a_call_that_gets_no_answer_stops_the_others(tmp_path: Path) -> None:
    """Stripe is down or asks to wait: going on with the rest of the chunk would be asking all the same."""
    stripe, progress = Stripe({("id-0~r2", 1): "down"}, seconds=0.002), Kept()
    with pytest.raises(Transient):
        _target(stripe, progress).send(outgoing(tmp_path, CHUNK), progress)
    assert sum(stripe.asked.values()) < CHUNK / 2


def test_a_record_that_somebody_else_sent_is_held_for_a_person(tmp_path: Path) -> None:
    stripe, progress = Stripe(taken=["id-1~r2"]), Kept()
    sent = _target(stripe, progress).send(outgoing(tmp_path, 3), progress)
    assert (sent.accepted, sent.held) == (2, (Held("id-1~r2", tried_before=False),))


def test_a_record_that_our_own_lost_try_explains_is_held_as_such(tmp_path: Path) -> None:
    """Stripe has forgotten the key but not the identifier: accepted, most likely by us, yet not proven."""
    stripe, progress = Stripe({("id-1~r2", 1): "lost"}, forgets_keys=True), Kept()
    out = outgoing(tmp_path, 3, customers=1)
    sent = _send_until_done(_target(stripe, progress), out, progress)
    assert Held("id-1~r2", tried_before=True) in sent.held
    assert sent.accepted + len(sent.held) == 3
    assert set(stripe.recorded.values()) == {1}


def test_a_chunk_in_doubt_for_too_long_is_not_sent_again(tmp_path: Path) -> None:
    """After a day Stripe forgets the identifier: a blind try could bill it twice."""
    stripe, progress = Stripe({("id-1~r2", 1): "crash"}), Kept()
    out = outgoing(tmp_path, CHUNK + 7, customers=1)
    with pytest.raises(Crash):
        _target(stripe, progress).send(out, progress)
    asked = sum(stripe.asked.values())
    progress.now += RESEND_WITHIN + timedelta(seconds=1)
    sent = _target(stripe, progress).send(out, progress)
    assert len(sent.unresolved) == CHUNK
    assert sent.accepted == 7
    assert sum(stripe.asked.values()) == asked + 7
    assert _target(stripe, progress).send(out, progress) == sent


@pytest.mark.parametrize(
    ("ahead", "again"),
    [
        (timedelta(minutes=1), True),
        (timedelta(hours=1), True),
        (timedelta(hours=1, seconds=1), False),
        (timedelta(hours=23), False),
        (timedelta(days=2), False),
        (timedelta(days=3650), False),
    ],
    ids=str,
)
def test_a_chunk_that_was_intended_by_a_clock_that_was_ahead_holds_up_nothing(
    tmp_path: Path, ahead: timedelta, again: bool
) -> None:
    """It would count as new for as long, and be billed again after Stripe forgot it; the rest goes at once."""
    stripe, progress = Stripe({("id-1~r2", 1): "crash"}), Kept()
    out = outgoing(tmp_path, CHUNK + 7, customers=1)
    progress.now += ahead
    with pytest.raises(Crash):
        _target(stripe, progress).send(out, progress)
    progress.now -= ahead
    sent = _target(stripe, progress).send(out, progress)
    assert (sent.accepted, len(sent.unresolved)) == ((CHUNK + 7, 0) if again else (7, CHUNK))
    assert max(stripe.recorded.values()) == 1
    assert stripe.recorded["id-3~r2"] == int(again)


def test_time_that_runs_out_in_the_middle_of_a_repeated_chunk_stops_it(tmp_path: Path) -> None:
    stripe, progress = Stripe({("id-0~r2", 1): "crash"}), Kept()
    out = outgoing(tmp_path, 10, customers=1)
    with pytest.raises(Crash):
        _target(stripe, progress).send(out, progress)
    ticks = iter([timedelta(hours=1)] * 4 + [RESEND_WITHIN * 2] * 10)
    begun = progress.now
    sent = MeterEventsTarget(stripe, clock=lambda: begun + next(ticks)).send(out, progress)
    assert (sent.accepted, len(sent.unresolved)) == (4, 6)


def test_a_refusal_at_once_names_the_code_where_it_is_certain(tmp_path: Path) -> None:
    stripe, progress = Stripe({("id-0~r2", 1): "bad"}), Kept()
    sent = _target(stripe, progress).send(outgoing(tmp_path, 2), progress)
    message = "Customer mapping key x not found in payload."
    assert sent.refused == (RefusedRecord("id-0~r2", "meter_event_no_customer_defined", message),)
    assert sent.accepted == 1


def test_calls_of_one_customer_never_overlap_and_keep_their_order(tmp_path: Path) -> None:
    """Stripe takes one at a time per customer and meter; a pre-aggregated meter keeps the last."""
    stripe, progress = Stripe(seconds=0.001), Kept()
    _target(stripe, progress).send(outgoing(tmp_path, 400, customers=3), progress)
    assert stripe.overlaps == 0
    for customer in range(3):
        sent = [int(name[3:-3]) for name in stripe.events if int(name[3:-3]) % 3 == customer]
        assert sent == sorted(sent)


def test_records_whose_customer_stands_elsewhere_go_one_by_one(tmp_path: Path) -> None:
    stripe, progress = Stripe(seconds=0.001), Kept()
    nobody = pl.lit(None, pl.String)
    _target(stripe, progress).send(outgoing(tmp_path, 50, payload_stripe_customer_id=nobody), progress)
    assert stripe.overlaps == 0


@pytest.mark.parametrize(
    "columns",
    [
        {"identifier": pl.lit("same")},
        {"identifier": pl.lit(None, pl.String)},
        {"timestamp": pl.lit("2026-11-21")},
        {"event_name": pl.lit(None, pl.String)},
    ],
)
def test_a_record_set_that_is_unfit_is_refused_before_anything_is_sent(
    tmp_path: Path, columns: dict[str, Any]
) -> None:
    stripe, progress = Stripe(), Kept()
    with pytest.raises(Corrupt):
        _target(stripe, progress).send(outgoing(tmp_path, 3, **columns), progress)
    assert not stripe.asked
    assert not progress.known


def test_fewer_records_than_promised_are_refused(tmp_path: Path) -> None:
    out = outgoing(tmp_path, 3)
    with pytest.raises(Corrupt):
        _target(Stripe(), Kept()).send(Outgoing(out.submission_id, None, out.record_set, 4), Kept())


def test_the_key_of_a_call_follows_from_submission_and_record_alone() -> None:
    keys = {idempotency_key(submission, name) for submission in ("a", "b") for name in ("1", "2", "ü\n")}
    assert len(keys) == 6
    assert all(len(key) < 255 and key.isascii() for key in keys)


def test_what_must_not_go_any_more_is_not_called(tmp_path: Path) -> None:
    """Its call would overwrite a value that has come since the intent."""
    stripe, progress = Stripe(), Kept(stopped={"id-1~r2": "would_overwrite"})
    sent = _target(stripe, progress).send(outgoing(tmp_path, 3), progress)
    assert (sent.accepted, sent.withheld) == (2, (Withheld("id-1~r2", "would_overwrite", "look"),))
    assert stripe.asked["id-1~r2"] == 0


def test_what_must_not_go_is_asked_for_before_each_chunk(tmp_path: Path) -> None:
    """An answer of an hour ago says nothing of a window now."""
    stripe, progress = Stripe({("id-0~r2", 1): "down"}), Kept()
    out = outgoing(tmp_path, 2 * CHUNK)
    with pytest.raises(Transient):
        _target(stripe, progress).send(out, progress)
    progress.stopped = {"id-1~r2": "would_overwrite", f"id-{CHUNK}~r2": "would_overwrite"}
    calls = stripe.asked["id-1~r2"]
    sent = _target(stripe, progress).send(out, progress)
    assert {(one.identifier, one.tried_before) for one in sent.withheld} == {
        ("id-1~r2", True),
        (f"id-{CHUNK}~r2", False),
    }
    assert (stripe.asked["id-1~r2"], stripe.asked[f"id-{CHUNK}~r2"]) == (calls, 0)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    orders=st.dictionaries(
        st.tuples(st.integers(0, CHUNK + 20).map(lambda n: f"id-{n}~r2"), st.integers(1, 3)),
        st.sampled_from(FAILURES),
        max_size=8,
    ),
    stopped=st.sets(st.integers(0, CHUNK + 20).map(lambda n: f"id-{n}~r2"), max_size=6),
    later=st.sets(st.integers(0, CHUNK + 20).map(lambda n: f"id-{n}~r2"), max_size=6),
)
def test_whatever_fails_and_whatever_is_stopped_each_record_has_one_end(
    orders: dict[tuple[str, int], str], stopped: set[str], later: set[str]
) -> None:
    """A record in two ends breaks the journal, one in none is lost, and a stopped one that is called overwrites."""
    records = CHUNK + 21
    stripe, progress = Stripe(orders), Kept(stopped=dict.fromkeys(stopped, "would_overwrite"))
    with TemporaryDirectory() as folder:
        out = outgoing(Path(folder), records)
        try:
            sent = _target(stripe, progress).send(out, progress)
        except (Transient, Crash):
            progress.stopped |= dict.fromkeys(later, "would_overwrite")
            sent = _send_until_done(_target(stripe, progress), out, progress)
    assert sent.accepted + len(sent.held) + len(sent.withheld) == records
    for one in sent.withheld:
        assert one.tried_before or not stripe.asked[one.identifier]
    assert max(stripe.recorded.values(), default=0) <= 1
