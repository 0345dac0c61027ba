"""Signed posts as bytes, each with an event id of its own, of the sizes that Stripe's events have."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.siege.shots import http, signed

EVENTS: Final = Path(__file__).parents[2] / "fixtures" / "events"
BODIES: Final = {
    "thin": ("v1.billing.meter.error_report_triggered__archived_meter__delivered.json", 1_200),
    "snapshot": ("data_management.import_set.succeeded__with_errors__delivered.json", 3_000),
}
"""A kind of event, the file that shows one, and how many bytes it is filled up to."""


def lay_out(path: Path, kind: str, name: str, number: int) -> None:
    """Write so many posts of a kind into a file as wrk's script reads them: a length of 8 digits, then the post."""
    with path.open("wb") as file:
        for post in _posts(kind, name, number):
            file.write(b"%08d" % len(post) + post)


def _posts(kind: str, name: str, number: int) -> Iterator[bytes]:
    shown, size = BODIES[kind]
    event = json.loads((EVENTS / shown).read_bytes())
    for each in range(number):
        body = json.dumps(event | {"id": f"evt_{name}_{each}"}).encode()
        body = body[:-1] + b', "filled": "%s"}' % (b"x" * (size - len(body) - 14))
        yield http("POST", "/webhooks", body, signed(body))
