"""Stripe's events, as they stand in its lists."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from workers.kernel.clock import to_text


def validation_report(
    event_id: str, meter_id: str, refused: Mapping[str, Collection[str]], unnamed: int, window: str, at: datetime
) -> dict[str, Any]:
    """Return the event about records that a meter refused: code -> identifiers; the first code has unnamed ones."""
    counts = {code: len(named) for code, named in refused.items()}
    counts[next(iter(refused))] += unnamed
    reason = {
        "error_count": sum(counts.values()),
        "error_types": [
            {
                "code": code,
                "error_count": counts[code],
                "sample_errors": [{"error_message": "No.", "request": {"identifier": one}} for one in named],
            }
            for code, named in refused.items()
        ],
    }
    return {
        "id": event_id,
        "object": "v2.core.event",
        "type": "v1.billing.meter.error_report_triggered",
        "livemode": False,
        "created": to_text(at),
        "related_object": {"id": meter_id, "type": "billing.meter", "url": f"/v1/billing/meters/{meter_id}"},
        "data": {"reason": reason, "validation_start": window, "validation_end": window},
    }


def import_set(event_id: str, at: datetime, subject: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event about an imported file."""
    ending = "failed" if subject["status"] == "failed" else "succeeded"
    return {
        "id": event_id,
        "object": "event",
        "type": f"data_management.import_set.{ending}",
        "livemode": False,
        "created": int(at.timestamp()),
        "data": {"object": {"object": "data_management.import_set", **subject}},
    }


def as_delivered(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Stripe posts of it: of a thin event, the data has to be fetched."""
    thin = event["object"] == "v2.core.event"
    return {name: value for name, value in event.items() if not (thin and name == "data")}


def told_anew(event: Mapping[str, Any], event_id: str, at: datetime) -> dict[str, Any]:
    """Return an event about the same records, refused once more: in another window or import."""
    if event["object"] == "event":
        subject = {**event["data"]["object"], "id": f"impset_{event_id}"}
        return {**event, "id": event_id, "created": int(at.timestamp()), "data": {"object": subject}}
    window = {"validation_start": to_text(at), "validation_end": to_text(at)}
    return {**event, "id": event_id, "created": to_text(at), "data": {**event["data"], **window}}


def case_keys(event: Mapping[str, Any], refused: Mapping[str, Collection[str]]) -> dict[str, Collection[str]]:
    """Return the key of the case that each code's records belong to: one failure, one case."""
    if event["object"] == "event":
        return {f"import_set::{event['data']['object']['id']}": named for named in refused.values()}
    meter_id, window = event["related_object"]["id"], event["data"]["validation_start"]
    return {f"report::{meter_id}:{window}:{code}": named for code, named in refused.items()}
