"""What is sent, made from a seed: sound events, forged ones, odd ones, and what is hardly HTTP."""

import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

SECRET: Final = "whsec_siege"
MAX_BODY: Final = 65_536
TYPES: Final = (
    "data_management.import_set.failed",
    "data_management.import_set.succeeded",
    "v1.billing.meter.error_report_triggered",
    "v1.billing.meter.no_meter_found",
    "invoice.paid",
)
_ODD: Final = (
    "\x00",
    "\ud800",
    "\u202e",
    "<script>",
    "=cmd()",
    "'--",
    "%s",
    "../",
    "\r\nX: y",
    "\x1b[2J",
    "é",
    "💶",
)
_PATHS: Final = (
    *(
        "/",
        "/webhooks",
        "/webhooks/thin",
        "/webhooks/snapshot",
        "//webhooks//",
        "/webhooks/../x",
        "/healthz",
        "/readyz",
    ),
    *(
        "/console/",
        "/console/login",
        "/console/cases",
        "/console/cases/case_1",
        "/console/events/evt_1",
        "/metrics",
    ),
)


@dataclass(frozen=True)
class Shot:
    """One request as bytes. `event` is the id and the body of an event that must be kept if it is acknowledged."""

    kind: str
    raw: bytes
    event: tuple[str, bytes] | None = None


def shots(seed: int, number: int) -> Iterator[Shot]:
    """Yield so many requests, the same for the same seed but for the time of their signatures."""
    random = Random(seed)
    kinds, weights = zip(*((kind, weight) for kind, (_, weight) in _KINDS.items()), strict=True)
    sent: list[tuple[str, bytes]] = []
    for place in range(number):
        kind = random.choices(kinds, weights)[0]
        made = _KINDS[kind][0](random, f"evt_{seed}_{place}", sent)
        yield Shot(kind, *made) if isinstance(made, tuple) else Shot(kind, made)


def signed(body: bytes, *, secret: str = SECRET, age: int = 0) -> dict[str, str]:
    """Return the header that Stripe would send."""
    at = int(time.time()) - age
    digest = hmac.new(secret.encode(), b"%d." % at + body, "sha256").hexdigest()
    return {"Stripe-Signature": f"t={at},v1={digest}"}


def http(method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """Return a request; header values may hold anything but the end of a line."""
    lines = [f"{method} {path} HTTP/1.1", "Host: siege", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + body


def _event(random: Random, event_id: str) -> bytes:
    about = {"id": f"mtr_{random.randrange(50)}", "object": "billing.meter", "note": random.choice(_ODD[2:])}
    thin = {"object": "v2.core.event", "related_object": about}
    snapshot = {"object": "event", "created": int(time.time()), "data": {"object": about}}
    common = {"id": event_id, "type": random.choice(TYPES), "livemode": False}
    return json.dumps({**common, **random.choice([thin, snapshot])}).encode()


Kept = list[tuple[str, bytes]]
Made = bytes | tuple[bytes, tuple[str, bytes]]


def _sound(random: Random, event_id: str, sent: Kept) -> Made:
    body = _event(random, event_id)
    sent.append((event_id, body))
    return http("POST", random.choice(_PATHS[1:4]), body, signed(body)), sent[-1]


def _replayed(random: Random, event_id: str, sent: Kept) -> Made:
    if not sent:
        return _sound(random, event_id, sent)
    event = random.choice(sent)
    return http("POST", "/webhooks", event[1], signed(event[1], age=random.randrange(200))), event


def _forged(random: Random, event_id: str, _sent: Kept) -> Made:
    body = _event(random, event_id)
    header = random.choice(
        [
            signed(body, secret="whsec_wrong"),
            signed(body, age=random.choice([400, 10**6, -400, -(10**12)])),
            signed(body + b" "),
            {},
            {"Stripe-Signature": ""},
            {"Stripe-Signature": "t=" + "9" * random.randrange(1, 4000)},
            {"Stripe-Signature": "v1=,t=,v1=" + ",v1=0" * random.randrange(1000)},
            {"Stripe-Signature": random.choice(_ODD[2:8]) * 20},
        ]
    )
    return http("POST", "/webhooks", body, header)


def _odd_body(random: Random, event_id: str, _sent: Kept) -> Made:
    value: Any = random.choice([None, [], 7, 1e308, "x", {}, {"object": []}, [[]], -1, True, "9" * 400])
    field = random.choice(["id", "type", "livemode", "data", "created", "related_object", "context", "account"])
    body = random.choice(
        [
            json.dumps(json.loads(_event(random, event_id)) | {field: value}).encode(),
            json.dumps(json.loads(_event(random, event_id)) | {field: random.choice(_ODD)}).encode(),
            b"[" * random.choice([10, 5000, 50_000]),
            b'{"a":' * random.choice([10, 5000]),
            bytes(random.randrange(256) for _ in range(200)),
            b"\xef\xbb\xbf" + _event(random, event_id),
            _event(random, event_id).decode().encode("utf-16"),
            b'{"id": NaN}',
            b"1" * random.choice([10, 5000, MAX_BODY]),
            b"",
            b" " * (MAX_BODY + random.randrange(2)),
            b"x" * (MAX_BODY * 2),
        ]
    )
    return http("POST", "/webhooks", body, signed(body))


def _astray(random: Random, _event_id: str, _sent: Kept) -> Made:
    path = random.choice(_PATHS) + random.choice(
        ["", "", "/", "?then=//x", "?state=%00", "/%ff%fe", "/" + "a" * 3000, "/%0d%0a"]
    )
    method = random.choice(
        ["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"]
    )
    headers = {
        "Cookie": random.choice(["metermend=x.y.z", "metermend_known=e30.x.x", ";;;", "a" * 3000]),
        "Authorization": random.choice(["Bearer x", "Basic !!!", ""]),
        "Accept": random.choice(["*/*", "text/html", "\x7f"]),
    }
    body = b"csrf_token=x&password=" + b"x" * random.choice([1, 300, 5000]) if method == "POST" else b""
    return http(method, path, body, headers | {"Content-Type": "application/x-www-form-urlencoded"})


def _hardly_http(random: Random, _event_id: str, _sent: Kept) -> Made:
    head = b"POST /webhooks HTTP/1.1\r\nHost: siege\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    return random.choice(
        [
            chunked + b"zz\r\nabc\r\n0\r\n\r\n",
            chunked + b"-1\r\n\r\n",
            chunked + b"5\r\nabcdefgh\r\n0\r\n\r\n",
            chunked + b"3\r\nabc\r\n0\r\n\r\n",
            chunked + b"3;" + b"x" * 5000 + b"\r\nabc\r\n0\r\n\r\n",
            head + b"Content-Length: -1\r\n\r\n",
            head + b"Content-Length: x\r\n\r\n",
            head + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            head + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            head + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            head + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n",
            head + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
            head + b"X: y\r\n" * 300 + b"\r\n",
            head + b"X\x00: y\r\n\r\n",
            head + b" folded\r\n\r\n",
            b"GET /healthz HTTP/9.9\r\n\r\n",
            b"GET /healthz\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\r\n\r\n\r\n\r\n",
            b"GET " + b"/" * 9000 + b" HTTP/1.1\r\nHost: siege\r\n\r\n",
        ]
    )


Maker = Callable[[Random, str, Kept], Made]
_KINDS: Final[Mapping[str, tuple[Maker, int]]] = {
    "sound events": (_sound, 30),
    "events told again": (_replayed, 10),
    "forged events": (_forged, 20),
    "odd bodies": (_odd_body, 15),
    "other paths and methods": (_astray, 15),
    "hardly HTTP": (_hardly_http, 10),
}
ENDS_CONNECTION: Final = "hardly HTTP"
"""Kind after which the connection is of no more use."""
