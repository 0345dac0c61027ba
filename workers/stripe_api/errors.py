"""One place where the SDK's and the network's errors become Transient or Permanent.

The status of the answer decides, as it is the same in v1 and v2 (Stripe docs, "Errors" and "Rate limits"); the
class decides only where there is no answer or where the class says more than the status.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import stripe

from workers.kernel.errors import MetermendError, Permanent, Transient

TRANSIENT: Final = frozenset({
    stripe.APIConnectionError, stripe.RateLimitError, stripe.TemporarySessionExpiredError,
})  # fmt: skip
"""Classes that always mean: again, later."""
BY_STATUS: Final = frozenset({
    stripe.StripeError, stripe.APIError, stripe.InvalidRequestError, stripe.IdempotencyError,
    stripe.AuthenticationError, stripe.PermissionError,
})  # fmt: skip
"""Classes that come with several statuses."""
PERMANENT: Final = frozenset({
    stripe.CardError, stripe.SignatureVerificationError, stripe.AlreadyCanceledError,
    stripe.BlockedByStripeError, stripe.CannotProceedError, stripe.CapabilityNotEnabledError,
    stripe.ControlledByAlternateResourceError, stripe.FeatureNotEnabledError, stripe.FinancialAccountNotOpenError,
    stripe.FxQuoteNeedsRefreshError, stripe.InsufficientFundsError, stripe.InvalidPaymentMethodError,
    stripe.InvalidPayoutMethodError, stripe.InvalidVaultedCredentialError, stripe.NotCancelableError,
    stripe.QuotaExceededError, stripe.RecipientNotNotifiableError, stripe.VerificationAttemptFailedError,
    stripe.VerificationExpiredError, stripe.VerificationNotInitiatedError,
})  # fmt: skip
"""Classes that no repetition mends."""

PERMISSIONS: Final[Mapping[str, str]] = {
    "/v1/account": "read on your own account",
    "/v1/billing/meter_event_adjustments": "write on Meter event adjustments",
    "/v1/billing/meter_events": "write on Meter events",
    "/v1/billing/meters": "read on Meters",
    "/v1/customers": "read on Customers",
    "/v1/events": "read on Events",
    "/v1/files": "read on Files",
    "/v1/prices": "read on Prices",
    "/v1/subscriptions": "read on Subscriptions",
    "/v2/billing/meter_event_session": "write on Meter events",
    "/v2/core/accounts": "read on Accounts",
    "/v2/core/event_destinations": "read on Event Destinations (Webhook Endpoints)",
    "/v2/core/events": "read on Events and on Meters",
}
"""What a restricted key must be allowed for a path. A longer path stands before the one that it begins with."""

_NOT_FOUND: Final = frozenset({"resource_missing", "not_found"})
_AGAIN: Final = frozenset({200, 408, 409})
"""200 comes here only with a body that is no JSON: the answer was cut or altered on its way."""
_FORBIDDEN: Final[Mapping[int, str]] = {
    401: "set STRIPE_API_KEY to a key of this account that is neither rolled nor expired",
    403: "allow the key in STRIPE_API_KEY: {permission}",
}


class RateLimited(Transient):
    """Stripe turned the call away unread (a 429 of its own).

    `reason` is its `Stripe-Rate-Limited-Reason`, where it gave one.
    """

    def __init__(self, message: str, *, reason: str | None, retry_after: float | None) -> None:
        self.reason = reason
        super().__init__(message, retry_after=retry_after)


class SessionExpired(Transient):
    """The token of a meter event session is over: the call was not read, and another token is to be asked for."""


class Replayed(Transient):
    """Stripe repeats the failure, of any status, that it keeps for our idempotency key.

    With this key it says nothing else for a day (Stripe docs, "Idempotent requests"): there is nothing to wait for.
    """


class Unauthorized(Permanent):
    """Stripe knows neither key nor token that the call came with (401): it was not read."""


class BadRequest(Permanent):
    """Stripe read the call and said no to what it asks (400, 404). `error` is Stripe's error object."""

    def __init__(self, message: str, error: Mapping[str, Any]) -> None:
        self.error = error
        super().__init__(message)


class NotFound(BadRequest):
    """The object does not exist. A path that Stripe does not know is a BadRequest instead."""


def translate(error: stripe.StripeError, path: str) -> MetermendError:
    """Return our error for what the SDK raised while it asked for `path`."""
    if type(error) in PERMANENT:
        said = _because({"message": error.user_message}, error.headers or {})
        return Permanent(f"{path}: {type(error).__name__}{said}")
    if type(error) is stripe.APIConnectionError:
        return Transient(f"Stripe could not be reached for {path}: {first_line(error.user_message or '')}")
    body = error.json_body if isinstance(error.json_body, Mapping) else {}
    found = body.get("error")
    details = found if isinstance(found, Mapping) else {"message": error.user_message}
    status = error.http_status or 0
    if type(error) is stripe.TemporarySessionExpiredError:
        return SessionExpired(_said(status, path, details, error.headers or {}))
    if type(error) in TRANSIENT:
        return _again(status, path, details, error.headers or {}, limited=True)
    return judge(status, path, details, error.headers or {})


def judge(status: int, path: str, error: Mapping[str, Any], headers: Mapping[str, str]) -> MetermendError:
    """Return our error for an answer of Stripe's other than what was asked for."""
    said = _said(status, path, error, headers)
    limited = status == 429 or error.get("code") == "rate_limit"
    if limited or status >= 500 or status in _AGAIN:
        return _again(status, path, error, headers, limited=limited)
    if status in _FORBIDDEN:
        kind = Unauthorized if status == 401 else Permanent
        return kind(f"{said} - {_FORBIDDEN[status].format(permission=permission(path))}")
    if status == 404 and error.get("code") in _NOT_FOUND:
        return NotFound(said, error)
    says_no = status == 400 and error.get("type") != "idempotency_error"
    return BadRequest(said, error) if says_no else Permanent(said)


def permission(path: str) -> str:
    """Return what a restricted key must be allowed for a path."""
    return next((needed for start, needed in PERMISSIONS.items() if path.startswith(start)), f"access to {path}")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Stripe asks us to wait; None where it names none."""
    named = _header(headers, "retry-after") or ""
    return float(named) if named.isascii() and named.isdigit() else None


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """Return when an answer was made, by its sender's own clock; None where it does not say."""
    try:
        return parsedate_to_datetime(_header(headers, "date") or "").astimezone(UTC)
    except ValueError:
        return None


def first_line(text: str) -> str:
    """Return the first line of a foreign message, cut to 300 characters."""
    return text.strip().split("\n", 1)[0][:300]


def _again(
    status: int, path: str, error: Mapping[str, Any], headers: Mapping[str, str], *, limited: bool
) -> Transient:
    said = _said(status, path, error, headers)
    if (_header(headers, "idempotent-replayed") or "").lower() == "true":
        return Replayed(said)
    if not limited:
        return Transient(said, retry_after=retry_after(headers))
    reason = _header(headers, "stripe-rate-limited-reason")
    because = reason or error.get("code") or "no reason given"
    slow_down = f"{path}: Stripe asks us to slow down ({because})"
    return RateLimited(slow_down, reason=reason, retry_after=retry_after(headers))


def _said(status: int, path: str, error: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    return f"{path}: Stripe answered {status}{_because(error, headers)}"


def _because(error: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    message = first_line(str(error.get("message") or ""))
    request = _header(headers, "request-id")
    return (f", {message}" if message else "") + (f" ({request})" if request else "")


def _header(headers: Mapping[str, str], name: str) -> str | None:
    return next((value for key, value in headers.items() if key.lower() == name), None)
