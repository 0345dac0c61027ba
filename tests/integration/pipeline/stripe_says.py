"""Events in Stripe's name that no import of the twin's would lead to: odd orders, odd counts, odd shapes."""

import itertools
import time
from collections import Counter
from datetime import timedelta
from typing import Any

from fixtures.twin.event import Event
from fixtures.twin.files import add_file, finish_file
from tests.integration.pipeline.loop import Loop, usage
from workers.kernel.clock import to_text, utc_now
from workers.kernel.ledger.submissions import Submission

Codes = dict[str, tuple[int, list[str]]]
"""Code -> (how many were refused, the identifiers that are named)."""

SOON = utc_now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=2)
"""The first window that reports are about: what the tests write meanwhile is written before it ends."""

_numbers = itertools.count()


def report(loop: Loop, codes: Codes, *, account: str | None = None, hour: float = 0, **odd: Any) -> str:
    """Deliver a validation report on the account's first meter, of a window `hour` hours ahead; return its id.

    `odd` takes the place of the fields of its data that have those names.
    """
    window_start = SOON + timedelta(hours=hour)
    window_end = window_start + timedelta(seconds=10)
    world = loop.twin.world
    meter = next(iter(world.account(account).meters))
    event = {
        "id": f"evt_test_said{next(_numbers)}",
        "object": "v2.core.event",
        "type": "v1.billing.meter.error_report_triggered",
        "livemode": False,
        "created": to_text(window_end),
        "context": account,
        "related_object": {"id": meter, "type": "billing.meter", "url": f"/v1/billing/meters/{meter}"},
    }
    reason = {"error_count": sum(count for count, _ in codes.values()), "error_types": _error_types(codes)}
    window = {"validation_start": to_text(window_start), "validation_end": to_text(window_end)}
    world.account(account).events[str(event["id"])] = Event(
        {**event, "data": {"reason": reason, **window, **odd}}, world.now()
    )
    loop.receive(event)
    loop.work()
    return str(event["id"])


def _error_types(codes: Codes) -> list[dict[str, Any]]:
    return [
        {
            "code": code,
            "error_count": count,
            "sample_errors": [{"error_message": "no", "request": {"identifier": name}} for name in named],
        }
        for code, (count, named) in codes.items()
    ]


def verdict(loop: Loop, file_name: str, *, account: str | None = None, **import_set: Any) -> str:
    """Deliver an import set's event about a file of that name; return the event's id."""
    failed = import_set.get("status") == "failed"
    event = {
        "id": f"evt_said{next(_numbers)}",
        "object": "event",
        "type": f"data_management.import_set.{'failed' if failed else 'succeeded'}",
        "livemode": False,
        "created": int(time.time()),
        "account": account,
        "data": {"object": {"object": "data_management.import_set", "file_name": file_name, **import_set}},
    }
    loop.receive(event)
    loop.work()
    return str(event["id"])


def error_file(loop: Loop, text: str) -> str:
    """Keep a failed-records file at Stripe and return its id."""
    account = loop.twin.account()
    file, path = add_file(loop.twin.world, account, "errors.csv", "data_management_import_errors")
    path.write_text(text)
    finish_file(loop.twin.world, file)
    return str(file["id"])


def three_sent(loop: Loop) -> Submission:
    """Let three records be refused for their form, repaired and sent again, as use-0, use-1 and use-2."""
    loop.upload("day.csv", usage(*(f"use-{n},2026-11-20T10:00:00Z,api_requests,cus_1,1" for n in range(3))))
    return submissions(loop)[0]


def submissions(loop: Loop) -> list[Submission]:
    """Every submission, oldest first."""
    return [submission for case in loop.cases() for submission in loop.ledger.submissions.of_case(case.id)]


def refused_again(loop: Loop) -> int:
    """How many records of our submissions the books hold as refused."""
    books = (loop.ledger.queries.entries(case.id) for case in loop.cases())
    return sum(entry.records for book in books for entry in book if entry.kind == "refused")


def reasons_of_held(loop: Loop) -> dict[str, int]:
    """How many records of our submissions the books hold as perhaps billed, by reason."""
    books = (loop.ledger.queries.entries(case.id) for case in loop.cases())
    held = (entry.detail["reasons"] for book in books for entry in book if entry.kind == "held")
    return dict(sum((Counter(reasons) for reasons in held), Counter()))
