"""What `metermend doctor` asks of Stripe: each permission by a cheap call, and the event destinations.

No call changes any usage: what writes is asked with nothing in it, which Stripe refuses, if not the key.
Sources: Stripe docs, "Restricted API keys", "Errors" and "List Event Destinations" (v2).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal
from urllib.parse import urlsplit

from workers.cli.doctor_check import Check, Grade, Noted, asked
from workers.kernel.codes import EventType
from workers.kernel.errors import MetermendError, Permanent, SettingsUnusable
from workers.kernel.places import METER_EVENT_STREAM, METER_EVENTS, apis_in
from workers.kernel.settings import Settings
from workers.stripe_api import LiveStripeApi
from workers.stripe_api.call import PAGE, Calls, v2_pages
from workers.stripe_api.errors import BadRequest, permission
from workers.stripe_api.pace import Limits
from workers.stripe_api.protocol import Json
from workers.stripe_api.stream import SESSION

DESTINATIONS: Final = "/v2/core/event_destinations"
METERS: Final = "/v1/billing/meters"
READS: Final[Mapping[str, Json]] = {
    METERS: {"limit": 1},
    "/v1/events": {"limit": 1},
    "/v1/customers": {"limit": 1},
    "/v1/files": {"limit": 1},
    "/v2/core/events": {"limit": 1, "types": [EventType.ERROR_REPORT_TRIGGERED.value]},
}
OPTIONAL: Final[Mapping[str, str]] = {
    "/v1/prices": "what open usage is worth",
    "/v1/subscriptions": "by when it must be on an invoice",
}
"""What the service works without -> what is not known then."""
WRITES: Final[Mapping[str, str]] = {
    METER_EVENTS: "/v1/billing/meter_events",
    METER_EVENT_STREAM: SESSION,
}
"""API -> what usage is sent by; a session that is asked for is a token that nobody uses."""
TAKES_BACK: Final = "/v1/billing/meter_event_adjustments"
WANTED: Final[Mapping[str, Sequence[str]]] = {
    "snapshot": (EventType.IMPORT_SET_FAILED, EventType.IMPORT_SET_SUCCEEDED),
    "thin": (EventType.ERROR_REPORT_TRIGGERED, EventType.NO_METER_FOUND),
}
"""Payload -> the types that one destination of it, at least, must send."""
TIMELY: Final[Sequence[tuple[str, Sequence[EventType]]]] = (
    ("snapshot", (EventType.CUSTOMER_CREATED,)),
    ("thin or snapshot", (EventType.METER_REACTIVATED, EventType.METER_REACTIVATED_SNAPSHOT)),
)
"""(payload, types of which one is enough): with them usage that waits goes out at once."""
_BY_HAND: Final = "look in Stripe's Dashboard whether one snapshot and one thin destination lead here"


def stripe_checks(settings: Settings) -> Iterator[Check]:
    """Ask Stripe; where the key is none at all, or nobody answers, one line says so."""
    away = f"see the network, and STRIPE_API_BASE ({settings.stripe_api_base})"
    stripe = LiveStripeApi(settings)
    calls = Calls(settings, Limits())
    try:
        first = asked("Stripe", lambda: _meters(settings, stripe), "see STRIPE_API_KEY", away=away)
        yield first
        if first.grade == "mend" and permission(METERS) not in first.mend:
            return
        yield asked("Stripe account", lambda: _own_account(stripe), "see STRIPE_API_KEY", away=away)
        yield from _permissions(settings, calls)
        yield asked("event destinations", lambda: _destinations(settings, calls), _BY_HAND, away=away)
    finally:
        calls.close()
        stripe.close()


def _permissions(settings: Settings, calls: Calls) -> Iterator[Check]:
    """Yield each permission that lacks, and those that are there in one line."""
    apis = apis_in(settings.target_places)
    asks: list[tuple[Literal["get", "post"], str, Json]] = [("get", path, ask) for path, ask in READS.items()]
    asks += [("get", path, {"limit": 1}) for path in OPTIONAL]
    asks += [("post", path, {}) for api in apis for path in (WRITES[api], TAKES_BACK)]
    held = []
    for method, path, params in asks:
        try:
            calls.once(method, path, params, None)
        except BadRequest:
            pass  # it was read, so the key may ask
        except MetermendError as error:
            what, _, mend = str(error).partition(" - ")
            lack = f"{what}; so nobody is told {OPTIONAL[path]}" if path in OPTIONAL else what
            grade: Grade = "note" if path in OPTIONAL else "mend"
            yield Check(f"permission: {permission(path)}", lack, mend or "see STRIPE_API_KEY", grade)
            continue
        held.append(permission(path))
    if held:
        yield Check("permissions", ", ".join(dict.fromkeys(held)))


def _destinations(settings: Settings, calls: Calls) -> str:
    """Return what the destinations send. Raises SettingsUnusable where a payload or a type lacks."""
    ask = {"limit": min(PAGE, 20), "include": ["webhook_endpoint.url"]}
    try:
        listed = list(v2_pages(calls, DESTINATIONS, ask, None))
    except Permanent as error:
        said = str(error).partition(" - ")[0]
        raise Noted(f"cannot be listed: {said}", f"allow {permission(DESTINATIONS)}, or {_BY_HAND}") from error
    ours = _ours([one for one in listed if one.get("status") == "enabled"], settings.console_url)
    lacks = [lack for payload, types in WANTED.items() for lack in _lacks(ours, payload, types)]
    if lacks:
        raise SettingsUnusable(
            "; ".join(lacks), mend='add it in Stripe (README, "Deploy it as a webhook destination")'
        )
    found = f"{len(ours)} are enabled; every refusal comes in as snapshot or thin"
    waits = list(_without_hurry(ours))
    if waits:
        what = f"{found}; no {' and no '.join(waits)}, so usage that waits for it goes out within a day or an hour"
        raise Noted(what, 'add them if it should go at once (README, "Deploy it as a webhook destination")')
    return found


def _ours(enabled: Sequence[Json], console_url: str | None) -> Sequence[Json]:
    """Return the destinations that lead to the console's host; all of them where none does, or it has none."""
    host = urlsplit(console_url or "").hostname
    here = [one for one in enabled if host and urlsplit(_url(one)).hostname == host]
    return here or enabled


def _url(destination: Json) -> str:
    return (destination.get("webhook_endpoint") or {}).get("url") or ""


def _lacks(destinations: Sequence[Json], payload: str, types: Sequence[str]) -> Iterator[str]:
    of_payload = [one for one in destinations if one.get("event_payload") == payload]
    sent = {name for one in of_payload for name in one.get("enabled_events") or ()}
    missing = [] if "*" in sent else [str(name) for name in types if name not in sent]
    if not of_payload:
        yield f"no {payload} destination is enabled"
    elif missing:
        yield f"no {payload} destination sends {', '.join(missing)}"


def _without_hurry(destinations: Sequence[Json]) -> Iterator[str]:
    """Yield each optional type that no destination sends."""
    sent = {name for one in destinations for name in one.get("enabled_events") or ()}
    yield from (f"{types[0]} ({payload})" for payload, types in TIMELY if not sent & {"*", *types})


def _own_account(stripe: LiveStripeApi) -> str:
    own = stripe.own_account()
    if own is None:
        raise Noted(
            "the key may not read its own account, so an event that names it is taken for a connected account's",
            f"allow it: {permission('/v1/account')}",
        )
    return own


def _meters(settings: Settings, stripe: LiveStripeApi) -> str:
    meters = stripe.list_meters(None)
    active = sum(meter.get("status") == "active" for meter in meters)
    return f"{'live' if settings.livemode else 'test'} mode, {active} active meters of {len(meters)}"
