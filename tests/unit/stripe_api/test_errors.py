"""If an error of Stripe's is read wrongly, usage is either given up too early or sent for ever."""

from collections.abc import Iterator
from typing import Any

import pytest
import stripe
from stripe._error import StripeErrorWithParamCode

from workers.kernel.errors import Permanent, Transient
from workers.stripe_api import errors
from workers.stripe_api.errors import BadRequest, NotFound, RateLimited, Replayed, judge, translate


def _classes(base: type[Any]) -> Iterator[type[Any]]:
    yield base
    for child in base.__subclasses__():
        yield from _classes(child)


def _error(kind: type[stripe.StripeError], status: int | None, body: Any = None, **headers: str) -> Any:
    error = kind.__new__(kind)
    stripe.StripeError.__init__(error, "said", http_status=status, json_body=body, headers=headers)
    return error


def _sdk_errors() -> list[type[Any]]:
    """Every class but the abstract one and those of the Connect login, which metermend never calls."""
    found = {kind for kind in _classes(stripe.StripeError) if kind.__module__ == "stripe._error"}
    return sorted(found - {StripeErrorWithParamCode}, key=repr)


@pytest.mark.parametrize("kind", _sdk_errors())
def test_every_error_class_of_the_sdk_has_been_thought_about(kind: type[stripe.StripeError]) -> None:
    named = [kind in group for group in (errors.TRANSIENT, errors.BY_STATUS, errors.PERMANENT)]
    assert sum(named) == 1, f"{kind.__name__} must stand in exactly one of TRANSIENT, BY_STATUS, PERMANENT"
    assert isinstance(translate(_error(kind, 500), "/v1/files/file_1"), Transient | Permanent)


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503])
def test_a_call_that_may_work_later_is_transient(status: int) -> None:
    assert isinstance(judge(status, "/v1/files/file_1", {}, {"Retry-After": "7"}), Transient)
    assert judge(status, "/v1/files/file_1", {}, {"Retry-After": "7"}).retry_after == 7  # type: ignore[attr-defined]


def test_a_full_rate_limit_says_how_long_and_why() -> None:
    headers = {"Retry-After": "3", "Stripe-Rate-Limited-Reason": "endpoint-rate"}
    limited = translate(_error(stripe.RateLimitError, 429, {"error": {"code": "rate_limit"}}, **headers), "/v1/x")
    assert isinstance(limited, RateLimited)
    assert (limited.retry_after, limited.reason) == (3.0, "endpoint-rate")
    assert "endpoint-rate" in str(limited)


@pytest.mark.parametrize("name", ["Idempotent-Replayed", "idempotent-replayed", "IDEMPOTENT-REPLAYED"])
@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_a_failure_that_stripe_replays_is_known_as_such_and_not_waited_for(status: int, name: str) -> None:
    """Waiting for the time that it once named changes nothing: the key will say the same for a day."""
    headers = {name: "true", "Retry-After": "3600"}
    for found in (
        judge(status, "/v1/billing/meter_events", {"code": "lock_timeout"}, headers),
        translate(_error(stripe.APIError, status, {"error": {}}, **headers), "/v1/billing/meter_events"),
        translate(_error(stripe.RateLimitError, 429, {"error": {}}, **headers), "/v1/billing/meter_events"),
    ):
        assert isinstance(found, Replayed)
        assert found.retry_after is None


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_an_answer_about_the_call_itself_is_the_same_when_it_is_replayed(status: int) -> None:
    """A second key would get the same no; taken for a failure of ours it would be asked for ever."""
    assert isinstance(judge(status, "/v1/files/f", {}, {"Idempotent-Replayed": "true"}), Permanent)


def test_a_refused_key_names_the_setting() -> None:
    refused = judge(401, "/v1/files/file_1", {"message": "Invalid API Key"}, {"Request-Id": "req_1"})
    assert isinstance(refused, Permanent)
    assert "STRIPE_API_KEY" in str(refused)
    assert "req_1" in str(refused)


@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("/v1/billing/meters/mtr_1", "read on Meters"),
        ("/v1/billing/meter_events", "write on Meter events"),
        ("/v1/billing/meter_event_adjustments", "write on Meter event adjustments"),
        ("/v1/customers/cus_1", "read on Customers"),
        ("/v1/files/file_1/contents", "read on Files"),
        ("/v2/core/events/evt_1", "read on Events"),
        ("/v1/unheard_of", "access to /v1/unheard_of"),
    ],
)
def test_a_restricted_key_is_told_its_missing_permission(path: str, needed: str) -> None:
    assert needed in str(judge(403, path, {}, {}))


def test_only_a_missing_object_counts_as_not_found() -> None:
    """A wrong base address answers 404 too; taking that for "no such meter" would be a guess."""
    assert isinstance(judge(404, "/v1/billing/meters/m", {"code": "resource_missing"}, {}), NotFound)
    unknown_url = judge(404, "/v1/billing/meters/m", {"message": "Unrecognized request URL"}, {})
    assert isinstance(unknown_url, Permanent)
    assert not isinstance(unknown_url, NotFound)


def test_a_reused_idempotency_key_is_no_fault_of_the_record() -> None:
    clash = judge(400, "/v1/billing/meter_events", {"type": "idempotency_error"}, {})
    assert isinstance(clash, Permanent)
    assert not isinstance(clash, BadRequest)


def test_an_answer_that_is_no_json_is_tried_again() -> None:
    assert isinstance(translate(_error(stripe.APIError, 200), "/v1/events"), Transient)


@pytest.mark.parametrize("text", ["soon", "-3", "1e9", "", "²"])
def test_a_strange_retry_after_is_ignored(text: str) -> None:
    assert errors.retry_after({"Retry-After": text}) is None
