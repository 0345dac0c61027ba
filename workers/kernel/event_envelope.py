"""What stands on the outside of a Stripe event, snapshot or thin, read tolerantly and no deeper than needed.

Source: Stripe docs, "Event destinations" (snapshot and thin payloads) and "Record usage in bulk".
"""

import json
from collections.abc import Mapping
from typing import Any

from workers.kernel.clock import named_moment
from workers.kernel.codes import EventType
from workers.kernel.errors import MalformedBody
from workers.kernel.ledger.events import NewEvent

KINDS = {"event": "snapshot", "v2.core.event": "thin"}
"""Stripe's `object` of an event and what kind of payload it has. Another one is kept as `unknown`."""

_TYPES = frozenset(EventType)

LONGEST_WORD = 255

LARGE_RECORDS = 20_000
"""An import set of more records, or of an unknown number, is worked on apart from small events."""

IRRELEVANT_TYPE = "irrelevant_type"
LIVEMODE_MISMATCH = "livemode_mismatch"
UNKNOWN_KIND = "unknown_kind"
NOT_AWAITED = "not_awaited"


def read_envelope(body: bytes, *, livemode: bool | None) -> NewEvent:
    """Return an event's receipt, with the reason in `ignored` where no work follows from it.

    `livemode` is that of our API key, or None where it is not known. Raises MalformedBody when the body is not a
    JSON object with an id and a type.

    The receipt's `account` is the event's `account` (snapshot), or the last account of its `context` (thin), which
    may be a path from an organization to it (stripe-python, `StripeContext`). An event may also name our own
    account. That cannot be told here, without asking Stripe for its id: `workers.pipeline.intake` does.
    """
    event = _json_object(body)
    event_id, event_type = _word(event.get("id")), _word(event.get("type"))
    if event_id is None or event_type is None:
        raise MalformedBody("malformed_body")
    kind = KINDS.get(str(event.get("object")), "unknown")
    live = event.get("livemode")
    return NewEvent(
        id=event_id,
        kind=kind,
        type=event_type,
        livemode=live if isinstance(live, bool) else bool(livemode),
        raw=body,
        account=_word(event.get("account")) or _last_account(_word(event.get("context"))),
        object_id=_object_id(event),
        created_at=named_moment(event.get("created")),
        ignored=_why_ignored(kind, event_type, live, livemode),
        large=_is_large(event),
    )


def _why_ignored(kind: str, event_type: str, live: object, expected: bool | None) -> str | None:
    if event_type not in _TYPES:
        return IRRELEVANT_TYPE
    if kind == "unknown":
        return UNKNOWN_KIND
    if isinstance(live, bool) and expected is not None and live is not expected:
        return LIVEMODE_MISMATCH
    return None


def _is_large(event: Mapping[str, Any]) -> bool:
    """Tell by the numbers that Stripe reports: of refused rows, or of all rows where the whole file was refused."""
    whole = event.get("type") == EventType.IMPORT_SET_FAILED
    if not whole and event.get("type") != EventType.IMPORT_SET_SUCCEEDED:
        return False
    places = ("data", "object", "result") if whole else ("data", "object", "result", "errors")
    counts: object = event
    for name in places:
        counts = counts.get(name) if isinstance(counts, dict) else None
    if not isinstance(counts, dict):
        return whole
    rows = counts.get("rows_processed") if whole else counts.get("row_count", counts.get("count"))
    return rows > LARGE_RECORDS if isinstance(rows, int) and rows else whole


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedBody("malformed_body") from None
    if not isinstance(event, dict):
        raise MalformedBody("malformed_body")
    return event


def _word(value: object) -> str | None:
    """Return text that any database can store and any page can show, else None."""
    fits = isinstance(value, str) and 0 < len(value) <= LONGEST_WORD and value.isprintable()
    return str(value) if fits else None


def _last_account(context: str | None) -> str | None:
    """Return the account that a context leads to, else its last step: `org_1/acct_2` is about `acct_2`."""
    steps = [step.strip() for step in (context or "").split("/") if step.strip()]
    accounts = [step for step in steps if step.startswith("acct_")]
    return next(reversed(accounts or steps), None)


def _object_id(event: Mapping[str, Any]) -> str | None:
    data = event.get("data")
    subject = event.get("related_object") or (data.get("object") if isinstance(data, dict) else None)
    return _word(subject.get("id")) if isinstance(subject, dict) else None
