"""Stripe's meter event stream as a target: 100 records a call, and no answer about any of them.

Stripe takes a call as a whole and validates its records later: a refusal comes as a validation report, as it does
for a file. What protects from billing twice is the identifier alone, which Stripe knows for at least 24 hours
(Stripe docs, "Create a Meter Event with asynchronous validation"). So a chunk that is in doubt is sent again as it
was within `RESEND_WITHIN`, and its records are unresolved after that.

Calls go out one after the other, as pre-aggregated meters keep the value that comes last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from workers.kernel.clock import Clock, from_epoch, to_text, utc_now
from workers.kernel.places import METER_EVENT_STREAM
from workers.records.schema import EVENT_NAME, IDENTIFIER, TIMESTAMP
from workers.targets.chunks import (
    Answer,
    Answers,
    Called,
    Record,
    payload_of,
    send_batch,
    send_in_chunks,
    unresolved,
)
from workers.targets.target import Chunk, Outgoing, Progress, Sent

CHUNK: Final = 100
"""Records of a chunk, which is one call; the stream takes no more."""


class MeterEventStreamApi(Protocol):
    """The one call that this target needs of Stripe."""

    def stream_meter_events(self, events: Sequence[Mapping[str, Any]], account: str | None) -> Answer:
        """Record usage. Raises Transient or Permanent when there is no answer about these records."""


@dataclass(frozen=True)
class MeterEventStreamTarget(Called):
    """Sends records by the hundred to `/v2/billing/meter_event_stream`."""

    name = METER_EVENT_STREAM

    api: MeterEventStreamApi
    clock: Clock = utc_now

    def send(self, outgoing: Outgoing, progress: Progress) -> Sent:
        """Send every chunk that has no result yet; see `Target.send`. Raises Corrupt for an unfit record set."""
        send = partial(self._send_chunk, outgoing.account)
        return send_in_chunks(outgoing, progress, send, size=CHUNK, location="Stripe's meter event stream")

    def _send_chunk(self, account: str | None, records: Sequence[Record], before: Chunk | None) -> Answers:
        if before is not None and before.is_late(self.clock()):
            return unresolved(records)
        return send_batch(records, partial(self._post, account), tried_before=before is not None)

    def _post(self, account: str | None, records: Sequence[Record]) -> Answer:
        return self.api.stream_meter_events([_event(record) for record in records], account)


def _event(record: Record) -> dict[str, Any]:
    return {
        "event_name": record[EVENT_NAME],
        "identifier": record[IDENTIFIER],
        "timestamp": to_text(from_epoch(int(str(record[TIMESTAMP])))),
        "payload": payload_of(record),
    }
