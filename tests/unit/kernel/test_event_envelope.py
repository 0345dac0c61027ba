"""If these fail, an event that Stripe sent is dropped for its shape, or work starts on one that is not ours."""

import json
from datetime import UTC, datetime
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from workers.kernel.codes import EventType
from workers.kernel.errors import MalformedBody
from workers.kernel.event_envelope import read_envelope

SNAPSHOT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "data_management.import_set.failed",
    "livemode": False,
    "created": 1_795_253_400,
    "account": "acct_1",
    "data": {"object": {"id": "impset_1", "object": "data_management.import_set"}},
}
THIN: dict[str, Any] = {
    "id": "evt_test_2",
    "object": "v2.core.event",
    "type": "v1.billing.meter.error_report_triggered",
    "livemode": False,
    "created": "2026-11-21T09:30:00.123Z",
    "context": "acct_2",
    "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
}


def body(event: object) -> bytes:
    return json.dumps(event).encode()


def test_a_snapshot_event_is_read() -> None:
    receipt = read_envelope(body(SNAPSHOT), livemode=False)
    assert (receipt.id, receipt.kind, receipt.type) == ("evt_1", "snapshot", "data_management.import_set.failed")
    assert (receipt.account, receipt.object_id, receipt.livemode) == ("acct_1", "impset_1", False)
    assert receipt.created_at == datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    assert receipt.ignored is None
    assert receipt.raw == body(SNAPSHOT)


def test_a_thin_event_is_read() -> None:
    receipt = read_envelope(body(THIN), livemode=False)
    assert (receipt.kind, receipt.account, receipt.object_id) == ("thin", "acct_2", "mtr_1")
    assert receipt.created_at == datetime(2026, 11, 21, 9, 30, 0, 123_000, tzinfo=UTC)
    assert receipt.ignored is None


@pytest.mark.parametrize("event_type", list(EventType))
@pytest.mark.parametrize("event", [SNAPSHOT, THIN], ids=["snapshot", "thin"])
def test_every_type_of_ours_is_taken_in_either_payload(event: dict[str, Any], event_type: EventType) -> None:
    assert read_envelope(body(event | {"type": event_type}), livemode=None).ignored is None


@pytest.mark.parametrize(
    "event_type", ["v2.core.event_destination.ping", "invoice.paid", "data_management.import_set.archived"]
)
def test_other_types_are_kept_as_irrelevant(event_type: str) -> None:
    assert read_envelope(body(THIN | {"type": event_type}), livemode=False).ignored == "irrelevant_type"


def test_a_future_kind_of_payload_is_kept_as_unknown() -> None:
    receipt = read_envelope(body(THIN | {"object": "v3.core.event"}), livemode=False)
    assert (receipt.kind, receipt.ignored) == ("unknown", "unknown_kind")


@pytest.mark.parametrize(
    ("event_live", "key_live", "ignored"),
    [
        (True, True, None),
        (False, False, None),
        (True, None, None),
        (True, False, "livemode_mismatch"),
        (False, True, "livemode_mismatch"),
        (None, True, None),
    ],
)
def test_an_event_of_the_other_mode_is_kept_and_not_worked_on(
    event_live: bool | None, key_live: bool | None, ignored: str | None
) -> None:
    assert read_envelope(body(SNAPSHOT | {"livemode": event_live}), livemode=key_live).ignored == ignored


@pytest.mark.parametrize(
    "changes",
    [
        {"related_object": None},
        {"related_object": {}},
        {"related_object": "mtr_1"},
        {"related_object": {"id": 7}},
        {"context": None},
        {"context": {"account": "acct_2"}},
        {"created": None},
        {"created": "yesterday"},
        {"created": 10**30},
        {"created": float("nan")},
        {"created": [1]},
        {"data": []},
        {"data": {"object": []}},
        {"livemode": "no"},
        {"object": 5},
        {"object": ["event"]},
        {"reason": None, "new_field": {"deep": [1, {}]}},
    ],
)
def test_what_stands_oddly_in_the_envelope_does_not_lose_the_event(changes: dict[str, Any]) -> None:
    receipt = read_envelope(body(THIN | changes), livemode=False)
    assert receipt.id == "evt_test_2"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"evt_1"',
        b"{}",
        b'{"id": "evt_1"}',
        b'{"type": "ping"}',
        b'{"id": 1, "type": "ping"}',
        b'{"id": "", "type": "ping"}',
        b'{"id": "evt\\u0000", "type": "ping"}',
        b'{"id": "evt_\\ud800", "type": "ping"}',
        b'{"id": "' + b"e" * 256 + b'", "type": "ping"}',
        b"[" * 100_000,
        b'{"id": ' + b"9" * 10_000 + b"}",
        b"\xff\xfe",
    ],
)
def test_what_is_no_event_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedBody, match="malformed_body"):
        read_envelope(raw, livemode=None)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*SNAPSHOT, *THIN]), json_values))
def test_no_json_object_crashes_the_reader(event: dict[str, Any]) -> None:
    try:
        receipt = read_envelope(body(event), livemode=None)
    except MalformedBody:
        return
    assert receipt.id == event["id"]


@pytest.mark.parametrize(
    ("context", "account"),
    [
        ("acct_1", "acct_1"),
        ("org_1/acct_1", "acct_1"),
        ("org_1/acct_1/", "acct_1"),
        ("/org_1/acct_1", "acct_1"),
        ("org_1/acct_1/acct_2", "acct_2"),
        ("acct_1/acct_2", "acct_2"),
        ("acct_1/wksp_2", "acct_1"),
        ("org_1 / acct_1 ", "acct_1"),
        ("org_1", "org_1"),
        ("org_1/wksp_2", "wksp_2"),
        ("/", None),
        (" / ", None),
        ("", None),
        (None, None),
        (7, None),
        (["acct_1"], None),
    ],
)
def test_the_account_is_the_last_of_a_thin_events_context(context: object, account: str | None) -> None:
    """A whole path is no account: calls for it, and cases of it, would be nobody's."""
    assert read_envelope(body({**THIN, "context": context}), livemode=None).account == account


def test_a_snapshots_account_is_taken_as_it_stands() -> None:
    assert read_envelope(body({**SNAPSHOT, "account": "acct_1"}), livemode=None).account == "acct_1"
