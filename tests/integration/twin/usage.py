"""Builders of usage."""

import json
import time
from typing import Any

HEADER = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value"


def now() -> int:
    return int(time.time())


def line(
    identifier: str, value: str = "1", *, name: str = "calls", customer: str = "cus_a", at: object = None
) -> str:
    return f"{identifier},{now() if at is None else at},{name},{customer},{value}"


def csv(*lines: str) -> str:
    return "\n".join([HEADER, *lines]) + "\n"


def event(identifier: str = "id-1", value: str = "1", **more: Any) -> Any:
    payload = {"stripe_customer_id": "cus_a", "value": value}
    return {"event_name": "calls", "identifier": identifier, "payload": payload, **more}


def as_json(*lines: str) -> list[dict[str, Any]]:
    """Make the JSON records of CSV lines."""
    records = []
    for text in lines:
        identifier, at, name, customer, value = text.split(",")
        timestamp = int(at) if at.isdigit() else at
        payload = {"stripe_customer_id": customer, "value": json.loads(value)}
        records.append({"identifier": identifier, "timestamp": timestamp, "event_name": name, "payload": payload})
    return records
