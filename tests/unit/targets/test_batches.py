"""Targets that send many records a call. If these fail, one is billed twice, or lost between two tries."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.targets.stripe_double import Crash, Kept, outgoing
from workers.kernel.errors import Transient
from workers.stripe_api import MeterEventReceipt
from workers.targets import RefusedRecord, Sent
from workers.targets.meter_event_stream import CHUNK, MeterEventStreamTarget
from workers.targets.target import RESEND_WITHIN


@dataclass
class Stream:
    """Takes a call as a whole and passes over what it knows. `orders` names what happens at the n-th call.

    `down`: not taken in, no answer. `lost`: taken in, no answer. `crash`: taken in, and the caller dies. What is
    `bad` has its call refused, with the message that it is given here.
    """

    orders: Mapping[int, str] = field(default_factory=dict)
    bad: Mapping[str, str] = field(default_factory=dict)
    taken: Counter[str] = field(default_factory=Counter)
    calls: int = 0

    def stream_meter_events(self, events: Sequence[Mapping[str, Any]], account: str | None) -> MeterEventReceipt:
        assert 0 < len(events) <= 100
        self.calls += 1
        order, names = self.orders.get(self.calls, ""), [event["identifier"] for event in events]
        if order == "down":
            raise Transient("no answer")
        for name in names:
            if name in self.bad:
                return MeterEventReceipt({"message": self.bad[name]})
        self.taken.update(name for name in names if name not in self.taken)
        if order == "lost":
            raise Transient("no answer")
        if order == "crash":
            raise Crash
        return MeterEventReceipt(None)


def _send_until_done(stream: Stream, folder: Path, kept: Kept, records: int) -> Sent:
    out = outgoing(folder, records)
    for _ in range(50):
        try:
            return MeterEventStreamTarget(stream, clock=lambda: kept.now).send(out, kept)
        except (Transient, Crash):
            kept.now += timedelta(minutes=5)
    raise AssertionError("the submission never ends")


@given(
    orders=st.dictionaries(st.integers(1, 12), st.sampled_from(["down", "lost", "crash"]), max_size=6),
    bad=st.sets(st.integers(0, 2 * CHUNK + 9).map(lambda n: f"id-{n}~r2"), max_size=4),
)
def test_whatever_fails_each_record_is_taken_once_or_has_another_end(orders: dict[int, str], bad: set[str]) -> None:
    records = 2 * CHUNK + 10
    stream, kept = Stream(orders, dict.fromkeys(bad, "malformed")), Kept()
    with TemporaryDirectory() as folder:
        sent = _send_until_done(stream, Path(folder), kept, records)
    ends = {record.identifier for record in sent.refused} | set(sent.unresolved)
    assert ends == bad
    assert sent.accepted == len(stream.taken) == records - len(bad)
    assert set(stream.taken.values()) == {1}


def test_a_refusal_after_a_lost_answer_is_never_taken_for_certain(tmp_path: Path) -> None:
    """It would go out under another identifier, beside the first that may have been taken."""
    stream, kept = Stream({1: "lost"}), Kept()
    with pytest.raises(Transient):
        MeterEventStreamTarget(stream, clock=lambda: kept.now).send(outgoing(tmp_path, 3), kept)
    stream.bad = {"id-1~r2": "malformed"}
    sent = _send_until_done(stream, tmp_path, kept, 3)
    assert (sent.accepted, sent.unresolved, sent.refused) == (2, ("id-1~r2",), ())


def test_an_identifier_that_is_called_taken_is_held_and_gets_no_other(tmp_path: Path) -> None:
    stream = Stream(bad={"id-1~r2": "An event already exists with identifier id-1~r2."})
    sent = _send_until_done(stream, tmp_path, Kept(), 3)
    assert [(one.identifier, one.tried_before) for one in sent.held] == [("id-1~r2", False)]
    assert (sent.accepted, sent.refused) == (2, ())


def test_a_refusal_at_once_has_the_targets_own_words(tmp_path: Path) -> None:
    sent = _send_until_done(Stream(bad={"id-2~r2": "odd"}), tmp_path, Kept(), 3)
    assert sent.refused == (RefusedRecord("id-2~r2", "malformed_record", "odd"),)


def test_a_chunk_in_doubt_for_too_long_is_not_sent_again(tmp_path: Path) -> None:
    """After a day Stripe forgets the identifiers: a blind try could bill them twice."""
    stream, kept = Stream({1: "crash"}), Kept()
    with pytest.raises(Crash):
        MeterEventStreamTarget(stream, clock=lambda: kept.now).send(outgoing(tmp_path, CHUNK + 7), kept)
    kept.now += RESEND_WITHIN + timedelta(seconds=1)
    sent = _send_until_done(stream, tmp_path, kept, CHUNK + 7)
    assert (len(sent.unresolved), sent.accepted, stream.calls) == (CHUNK, 7, 2)
