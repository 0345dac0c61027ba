"""What metermend asks of Stripe: the seam, and the answers that are not simply Stripe's own objects.

An object of Stripe's is a plain dict as its JSON says. `account` is a connected account's id, or None for the
account of the key. Every method raises Transient when Stripe may answer later, and Permanent with a sentence for an
operator when it will not.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Protocol

from workers.kernel.money import UnitPrice

Json = dict[str, Any]
Grouping = Literal["hour", "day"]


@dataclass(frozen=True)
class Summary:
    """What a meter has counted for a customer from `start` (inclusive) to `end`."""

    start: datetime
    end: datetime
    value: Decimal


@dataclass(frozen=True)
class Customer:
    """A customer, `made` when, if that is told. A deleted one still answers, and to bill him is to bill nobody."""

    made: datetime | None
    deleted: bool = False


def existing(found: Mapping[str, Customer]) -> dict[str, Customer]:
    """Return those customers who can be billed."""
    return {name: customer for name, customer in found.items() if not customer.deleted}


@dataclass(frozen=True)
class MeterEventReceipt:
    """Stripe's answer to meter events: `error` is Stripe's error object of a 400, None when they were accepted.

    `asked_before` tells that an earlier try of the same call went unanswered, so they may have been accepted.
    """

    error: Mapping[str, Any] | None
    asked_before: bool = False


class StripeApi(Protocol):
    """Stripe's API, as far as metermend uses it."""

    def own_account(self) -> str | None:
        """Return the id of the key's own account (Stripe docs, "Retrieve account"), asked for once in a process.

        None where the key may not know it.
        """

    def told_time(self) -> datetime | None:
        """Return Stripe's own time, by the `Date` of its latest answer; None before the first."""

    def fetch_event(self, event_id: str, account: str | None) -> Json:
        """Return a thin event with its data (Stripe docs, "Retrieve an Event", v2)."""

    def snapshot_events(self, types: Collection[str], since: datetime, account: str | None) -> Iterator[Json]:
        """Yield the snapshot events of these types from `since` on, oldest first; Stripe keeps 30 days."""

    def thin_events(self, types: Collection[str], since: datetime, account: str | None) -> Iterator[Json]:
        """Yield the thin events of these types from `since` on, oldest first; Stripe keeps 30 days."""

    def fetch_meter(self, meter_id: str, account: str | None) -> Json | None:
        """Return a meter, or None where there is none of that id."""

    def list_meters(self, account: str | None) -> list[Json]:
        """Return every meter, active and inactive."""

    def meter_prices(self, meter_id: str, account: str | None) -> Sequence[UnitPrice]:
        """Return what one more unit of a meter costs by each of its active prices."""

    def period_end(self, customer: str, account: str | None) -> datetime | None:
        """Return when the first of a customer's current metered periods ends; None where he has none."""

    def find_customers(self, ids: Collection[str], account: str | None) -> Mapping[str, Customer]:
        """Return the customers that these ids name, those that were deleted among them."""

    def search_customers(self, key: str, value: str, account: str | None) -> list[str]:
        """Return the ids of the customers whose metadata has exactly this value under this key."""

    def file_name(self, file_id: str, account: str | None) -> str | None:
        """Return a file's name; None where it has none (Stripe docs, "The File object")."""

    def download_file(self, file_id: str, account: str | None, into: Path, max_bytes: int) -> None:
        """Write a file's contents to `into`, which exists only when complete.

        Raises Permanent when it is larger than `max_bytes`, Transient when it was cut short.
        """

    def event_summaries(
        self,
        meter_id: str,
        customer: str,
        start: datetime,
        end: datetime,
        account: str | None,
        grouping: Grouping | None = None,
    ) -> Sequence[Summary]:
        """Return what the meter has counted, padded outwards to whole minutes (hours, UTC days where grouped).

        Stripe computes it with a delay that it does not tell (Stripe docs, "List billing meter event summaries").
        """

    def create_meter_event(
        self, event: Mapping[str, Any], idempotency_key: str, account: str | None
    ) -> MeterEventReceipt:
        """Record usage: event_name, payload (text to text), identifier and timestamp (epoch seconds)."""

    def stream_meter_events(self, events: Sequence[Mapping[str, Any]], account: str | None) -> MeterEventReceipt:
        """Record the usage of up to 100 events at once, timestamps in RFC 3339; all of it is validated later.

        An identifier that Stripe still knows is passed over, for 24 hours at least (Stripe docs, "Create a Meter
        Event with asynchronous validation").
        """

    def cancel_meter_event(self, event_name: str, identifier: str, account: str | None) -> Json:
        """Take back usage of the last 24 hours (Stripe docs, "Create a billing meter event adjustment")."""
