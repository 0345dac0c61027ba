"""Metronome as a target: it is sent each record under its identifier, and asked afterwards what it counts.

Metronome knows a transaction id for 34 days, counts the first event of it and passes over the others (Metronome
docs, "Ingest events"). So a chunk in doubt may be sent again for as long, and what counts is told by its search.
It takes no usage older than that, either.

A record becomes an event so: identifier -> transaction_id, event_name -> event_type, the customer that its meter
names -> customer_id (an ingest alias of the customer in Metronome), the rest of the payload -> properties, as text.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

import polars as pl

from workers.kernel.clock import Clock, from_epoch, from_text, named_moment, to_text, utc_now
from workers.kernel.places import METRONOME
from workers.kernel.reasons import ARRIVAL_UNKNOWN, IDENTIFIER_TAKEN, NOT_BILLED_THERE, TOO_OLD_THERE
from workers.records.catalog import Catalog, Meter
from workers.records.schema import CUSTOMER, EVENT_NAME, IDENTIFIER, TIMESTAMP, payload_key
from workers.targets.chunks import (
    Answer,
    Answers,
    Called,
    Record,
    payload_of,
    record_columns,
    send_batch,
    send_in_chunks,
    unresolved,
)
from workers.targets.metronome_api import BATCH
from workers.targets.target import Arrived, Chunk, NotCounted, Outgoing, Progress, Sent, Withheld

KNOWN_FOR: Final = timedelta(days=34) - timedelta(hours=1)
"""How long an id is known and how old usage may be: 34 days, less an hour for clocks and slow calls."""

_TOO_OLD: Final = "Metronome takes usage of the last 34 days only: bill it there by hand, as a charge of its own."
_OTHER: Final = "Other usage stands in Metronome under this transaction_id: released, this goes under another."
_REPEATED: Final = (
    "Metronome calls it a duplicate and does not show the first: see there what this id was used for."
)
_NO_CUSTOMER: Final = (
    "Metronome has it and knows no customer by {}: give the customer this ingest alias, then release it."
)
_NO_METRIC: Final = "Metronome has it, and no billable metric takes event type {}: add one, then release it."


class MetronomeCalls(Protocol):
    """The two calls that this target needs of Metronome."""

    def ingest(self, events: Sequence[Mapping[str, Any]]) -> Answer:
        """Record usage. Raises Transient or Permanent when there is no answer about these events."""

    def search(self, transaction_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return what came with these ids. Raises as `ingest` does."""


@dataclass(frozen=True)
class MetronomeTarget(Called):
    """Sends records by the hundred to Metronome. `meters` gives Stripe's meter objects of our own account."""

    name = METRONOME

    api: MetronomeCalls
    meters: Callable[[], Sequence[Mapping[str, Any]]]
    clock: Clock = utc_now

    def send(self, outgoing: Outgoing, progress: Progress) -> Sent:
        """Send every chunk that has no result yet; see `Target.send`. Raises Corrupt for an unfit record set."""
        as_event = self._reader()

        def send_chunk(records: Sequence[Record], before: Chunk | None) -> Answers:
            if before is not None and before.is_late(self.clock(), KNOWN_FOR):
                return unresolved(records)
            return send_batch(
                records, lambda part: self.api.ingest([*map(as_event, part)]), tried_before=before is not None
            )

        return send_in_chunks(
            outgoing, progress, send_chunk, size=BATCH, location="Metronome", withhold=self._too_old
        )

    def arrived(self, records: pl.DataFrame) -> Arrived:
        """Return what Metronome says of records that were sent: see `Proving`."""
        as_event = self._reader()
        counted, not_counted, latest = list[str](), list[NotCounted](), ""
        for chunk in record_columns(records.lazy()).collect().iter_slices(BATCH):
            shown = self._shown(chunk[IDENTIFIER].to_list())
            for event in map(as_event, chunk.to_dicts()):
                identifier = event["transaction_id"]
                if not _is_processed(shown[identifier]):
                    continue
                if why_not := _why_not_counted(event, shown[identifier]):
                    not_counted.append(NotCounted(identifier, *why_not))
                    continue
                counted.append(identifier)
                latest = max(latest, *(str(one.get("processed_at") or "") for one in shown[identifier]))
        return Arrived(tuple(counted), tuple(not_counted), {"counted": len(counted), "processed_by": latest})

    def _shown(self, identifiers: Sequence[str]) -> Mapping[str, list[Mapping[str, Any]]]:
        shown = {identifier: list[Mapping[str, Any]]() for identifier in identifiers}
        for one in self.api.search(identifiers):
            shown.get(str(one.get("transaction_id")), []).append(one)
        return shown

    def _too_old(self, chunk: pl.DataFrame) -> Sequence[Withheld]:
        oldest = int((self.clock() - KNOWN_FOR).timestamp())
        late = chunk.filter(pl.col(TIMESTAMP).cast(pl.Int64) < oldest)[IDENTIFIER]
        return [Withheld(identifier, TOO_OLD_THERE, _TOO_OLD) for identifier in late]

    def _reader(self) -> Callable[[Record], dict[str, Any]]:
        """Return what makes an event of a record: Stripe's meters name the payload key of the customer."""
        meters = Catalog(meters=tuple(map(Meter.from_stripe, self.meters()))).by_event_name

        def as_event(record: Record) -> dict[str, Any]:
            meter, properties = meters.get(str(record[EVENT_NAME])), payload_of(record)
            return {
                "transaction_id": record[IDENTIFIER],
                "customer_id": properties.pop(payload_key(meter.customer_column if meter else CUSTOMER), ""),
                "event_type": record[EVENT_NAME],
                "timestamp": to_text(from_epoch(int(str(record[TIMESTAMP])))),
                "properties": properties,
            }

        return as_event


def _is_processed(shown: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether it can be seen by now what became of an event: it shows some seconds before that.

    Of one that was sent again the first counts, and a duplicate of it may be processed before it is.
    """
    counting = [one for one in shown if not one.get("is_duplicate")] or shown
    return any(one.get("processed_at") or one.get("matched_customer") for one in counting)


def _why_not_counted(event: Mapping[str, Any], shown: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Return reason and advice where an event that has been processed does not count; None where it does."""
    first = next((one for one in shown if not one.get("is_duplicate")), None)
    if first is None:
        return ARRIVAL_UNKNOWN, _REPEATED
    if not _is_same(event, first):
        return IDENTIFIER_TAKEN, _OTHER
    if not first.get("matched_customer"):
        return NOT_BILLED_THERE, _NO_CUSTOMER.format(event["customer_id"])
    without = first.get("matched_billable_metrics", first.get("billable_metrics")) == []
    return (NOT_BILLED_THERE, _NO_METRIC.format(event["event_type"])) if without else None


def _is_same(event: Mapping[str, Any], shown: Mapping[str, Any]) -> bool:
    """Tell whether what Metronome shows is this very usage, as far as it shows it."""
    properties = {key: str(value) for key, value in (shown.get("properties") or event["properties"]).items()}
    named = all(str(shown.get(name) or event[name]) == event[name] for name in ("customer_id", "event_type"))
    at = named_moment(shown.get("timestamp")) or from_text(event["timestamp"])
    return named and at == from_text(event["timestamp"]) and properties == event["properties"]
