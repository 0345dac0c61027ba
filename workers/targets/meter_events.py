"""The meter events API as a target: at most once for each record, also across crashes and lost answers.

Records go out in chunks (`chunks`), and a chunk that is in doubt is resolved so:

- It is sent again with the same identifiers and idempotency keys. Stripe answers a repeated
  key with what it answered first (Stripe docs, "Idempotent requests": kept for at least 24 hours), and refuses a
  repeated identifier for as long ("Create a billing meter event"). So a repetition records nothing twice, and a
  refusal that it gets tells that the first try was not accepted either: else the acceptance would be repeated.
- Once `RESEND_WITHIN` has passed since the intent, neither memory can be relied on, and its records are unresolved.
- "already exists" means that Stripe remembers the identifier. It does not say whether that usage was ours, nor
  whether it was refused afterwards, so such a record is held and never counts as billed. `Held.tried_before` tells
  apart what an own unanswered call explains from what it does not: the former may be confirmed like any other, the
  latter needs a person.

Calls of one customer and event name go out one after the other and in the order of the record set, as Stripe takes
one at a time per customer and meter (Stripe docs, "Record usage with the API"), and as pre-aggregated meters keep
the last one. Two submissions at once may still meet; Stripe then answers 429, and the adapter backs off.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from threading import Event
from typing import Any, Final, Protocol

from workers.kernel.clock import Clock, utc_now
from workers.kernel.places import METER_EVENTS
from workers.records.schema import EVENT_NAME, IDENTIFIER, TIMESTAMP, payload_column
from workers.targets.chunks import Answer, Answers, Called, Record, payload_of, send_in_chunks, unresolved
from workers.targets.target import Chunk, Outgoing, Progress, Sent

CHUNK: Final = 200
"""Records of a chunk: what a crash makes us ask for once more."""
THREADS: Final = 8
"""Calls under way at once; the adapter's pace keeps them below Stripe's limit."""
_CUSTOMER: Final = payload_column("stripe_customer_id")


class MeterEventsApi(Protocol):
    """The one call that this target needs of Stripe."""

    def create_meter_event(self, event: Mapping[str, Any], idempotency_key: str, account: str | None) -> Answer:
        """Record usage. Raises Transient or Permanent when there is no answer about this record."""


@dataclass(frozen=True)
class MeterEventsTarget(Called):
    """Sends records one by one to `/v1/billing/meter_events`."""

    name = METER_EVENTS

    api: MeterEventsApi
    clock: Clock = utc_now

    def send(self, outgoing: Outgoing, progress: Progress) -> Sent:
        """Send every chunk that has no result yet; see `Target.send`. Raises Corrupt for an unfit record set."""
        send = partial(self._send_chunk, outgoing)
        return send_in_chunks(outgoing, progress, send, size=CHUNK, location="Stripe's meter events API")

    def _send_chunk(self, outgoing: Outgoing, records: Sequence[Record], before: Chunk | None) -> Answers:
        """Send the lanes of a chunk side by side; the first error stops them all and is raised."""
        stop, answers = Event(), Answers()

        def send(lane: Sequence[Record]) -> Answers:
            try:
                return self._send_lane(lane, outgoing, before, stop)
            except BaseException:
                stop.set()
                raise

        with ThreadPoolExecutor(THREADS, "meter-events") as threads:
            for result in threads.map(send, _lanes(records)):
                answers.add(result)
        return answers

    def _send_lane(self, lane: Sequence[Record], outgoing: Outgoing, before: Chunk | None, stop: Event) -> Answers:
        answers = Answers()
        for record in lane:
            if stop.is_set():
                break
            if before is not None and before.is_late(self.clock()):
                answers.add(unresolved([record]))
            else:
                self._send_record(record, outgoing, answers, tried_before=before is not None)
        return answers

    def _send_record(self, record: Record, outgoing: Outgoing, answers: Answers, *, tried_before: bool) -> None:
        key = idempotency_key(outgoing.submission_id, str(record[IDENTIFIER]))
        answer = self.api.create_meter_event(_event(record), key, outgoing.account)
        if answer.error is None:
            answers.accepted += 1
        else:
            answers.refuse(record, answer.error, tried_before=tried_before or answer.asked_before)


def idempotency_key(submission_id: str, identifier: str) -> str:
    """Return the key of one record's call: the same for ever, and fit for a header whatever the identifier is."""
    return f"metermend-{sha256(f'{submission_id}/{identifier}'.encode()).hexdigest()}"


def _lanes(records: Sequence[Record]) -> list[list[Record]]:
    """Divide records by customer and event name, the longest lane first.

    Where a meter keeps its customer under another key, all records of its event name share one lane.
    """
    lanes: dict[tuple[str | None, str | None], list[Record]] = {}
    for record in records:
        lanes.setdefault((record[EVENT_NAME], record.get(_CUSTOMER)), []).append(record)
    return sorted(lanes.values(), key=len, reverse=True)


def _event(record: Record) -> dict[str, Any]:
    return {
        "event_name": record[EVENT_NAME],
        "identifier": record[IDENTIFIER],
        "timestamp": int(str(record[TIMESTAMP])),
        "payload": payload_of(record),
    }
