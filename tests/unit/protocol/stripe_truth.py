"""A Stripe that knows the truth: what it accepted, what it refused or took back of that, and so what it bills."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.conftest import FrozenClock
from tests.recording import RecordingStripeApi
from tests.unit.protocol.mortality import Fuse
from tests.unit.protocol.published import import_set, told_anew, validation_report
from workers.kernel.clock import to_text
from workers.kernel.errors import Transient
from workers.records.identifiers import origin_of
from workers.stripe_api import MeterEventReceipt
from workers.stripe_api.errors import BadRequest, NotFound
from workers.stripe_api.protocol import Summary

MEMORY = timedelta(hours=24)
API_CALLS, OLD_CALLS = "mtr_1", "mtr_2"


def a_meter(meter_id: str, event_name: str, status: str) -> dict[str, Any]:
    """Return a meter that sums."""
    return {
        "id": meter_id,
        "object": "billing.meter",
        "event_name": event_name,
        "status": status,
        "default_aggregation": {"formula": "sum"},
        "event_time_window": None,
        "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
        "value_settings": {"event_payload_key": "value"},
    }


@dataclass
class Accepted:
    """Usage that Stripe took in; it is billed unless it was refused or cancelled later."""

    identifier: str
    at: datetime
    meter_id: str = API_CALLS
    refused: bool = False
    cancelled: bool = False

    @property
    def counts(self) -> bool:
        return not self.refused and not self.cancelled


@dataclass
class StripeTruth(RecordingStripeApi):
    """Remembers identifiers and keys for a day, may lose answers, and refuses what it likes later."""

    clock: FrozenClock = field(default_factory=FrozenClock)
    fuse: Fuse = field(default_factory=Fuse)
    accepted: list[Accepted] = field(default_factory=list)
    keys: dict[str, tuple[datetime, MeterEventReceipt]] = field(default_factory=dict)
    taken_back: set[str] = field(default_factory=set)
    """The sender's records that were cancelled and that nobody has asked for again: none may be billed."""
    unanswered: int = 0
    """How many of the next calls are carried out without an answer."""

    def create_meter_event(
        self, event: Mapping[str, Any], idempotency_key: str, account: str | None
    ) -> MeterEventReceipt:
        self.fuse.call()
        receipt = self._decide(event, idempotency_key)
        self.answer()
        return receipt

    def stream_meter_events(self, events: Sequence[Mapping[str, Any]], account: str | None) -> MeterEventReceipt:
        self.fuse.call()
        for event in events:
            self.accept(event["identifier"], event["event_name"])
        self.answer()
        return MeterEventReceipt(None)

    def cancel_meter_event(self, event_name: str, identifier: str, account: str | None) -> dict[str, Any]:
        self.fuse.call()
        found = [usage for usage in self.remembered(identifier) if not usage.refused]
        for usage in found:
            usage.cancelled = True
            self.taken_back.add(origin_of(identifier)[0])
        self.answer()
        if not found:
            raise NotFound(f"{identifier}: nothing to cancel", {"code": "resource_missing"})
        return {"object": "billing.meter_event_adjustment", "event_name": event_name, "status": "pending"}

    def answer(self) -> None:
        """Let the answer of a call that was carried out reach the caller, or be lost."""
        self.fuse.call()
        if self.unanswered:
            self.unanswered -= 1
            raise Transient("Stripe did not answer")

    def remembered(self, identifier: str) -> list[Accepted]:
        """Return what Stripe accepted under an identifier within the last day."""
        now = self.clock()
        return [usage for usage in self.accepted if usage.identifier == identifier and now - usage.at < MEMORY]

    def accept(self, identifier: str, event_name: str) -> Mapping[str, Any] | None:
        """Take usage in; return Stripe's error where it does not."""
        meter = next(meter for meter in self.meters if meter["event_name"] == event_name)
        if self.remembered(identifier):
            message = f"An event already exists with identifier {identifier}."
            return {"type": "invalid_request_error", "message": message}
        if meter["status"] != "active":
            return {"type": "invalid_request_error", "code": "archived_meter", "message": "The meter is archived."}
        self.accepted.append(Accepted(identifier, self.clock(), meter["id"]))
        return None

    def event_summaries(self, meter_id: str, *_asked: Any, **_more: Any) -> Sequence[Summary]:
        """Tell no totals: so silence is what confirms, the weakest proof that the protocol has to hold with."""
        raise BadRequest(f"the totals of {meter_id} are not told", {})

    def set_meter(self, meter_id: str, status: str) -> None:
        """Let somebody archive a meter or make it active again."""
        self.meters = [{**one, "status": status} if one["id"] == meter_id else one for one in self.meters]

    def is_active(self, meter_id: str) -> bool:
        return any(meter["id"] == meter_id and meter["status"] == "active" for meter in self.meters)

    def billed(self) -> Counter[str]:
        """How often each of the sender's records is billed."""
        return Counter(origin_of(usage.identifier)[0] for usage in self.accepted if usage.counts)

    def keep_file(self, name: str, contents: str) -> str:
        """Keep a file that can be downloaded, and return its id."""
        data, file_id = contents.encode(), f"file_{len(self.files)}"
        self.files[file_id] = (name, data)
        return file_id

    def event(self, event_id: str) -> dict[str, Any]:
        """Return what Stripe keeps of an event."""
        return next(event for event in self.events if event["id"] == event_id)

    def report(self, meter_id: str, refused: Mapping[str, Collection[str]], unnamed: int = 0) -> str:
        """Publish a validation report, code -> identifiers, about a window of its own; return the event's id."""
        at = self.clock()
        return self._publish(
            validation_report(self._next_id(), meter_id, refused, unnamed, to_text(self._moment()), at)
        )

    def publish_import(self, **subject: Any) -> str:
        """Publish an event about an imported file and return its id."""
        return self._publish(import_set(self._next_id(), self.clock(), subject))

    def publish_again(self, event_id: str, *, anew: bool) -> str:
        """Publish another event about what one told: of the same change, or the same refusal once more."""
        event = self.event(event_id)
        if anew:
            return self._publish(told_anew(event, self._next_id(), self._moment()))
        return self._publish({**event, "id": self._next_id()})

    def _publish(self, event: dict[str, Any]) -> str:
        self.events.append(event)
        return str(event["id"])

    def _next_id(self) -> str:
        return f"evt_{len(self.events)}"

    def _moment(self) -> datetime:
        """Return a moment that no other event has."""
        return self.clock() + timedelta(milliseconds=len(self.events))

    def _decide(self, event: Mapping[str, Any], key: str) -> MeterEventReceipt:
        now = self.clock()
        if key not in self.keys or now - self.keys[key][0] >= MEMORY:
            error = self.accept(str(event["identifier"]), str(event["event_name"]))
            self.keys[key] = (now, MeterEventReceipt(error))
        return self.keys[key][1]
