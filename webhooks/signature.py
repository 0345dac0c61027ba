"""Whether a body was signed by Stripe, lately, with a secret of ours. Pure: no clock, no settings, no web.

Source: Stripe docs, "Verify webhook signatures manually" and "Roll endpoint signing secrets". The arithmetic is the
SDK's own; the SDK takes one secret and lets a time ahead pass, so secrets and time are judged here.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from stripe import SignatureVerificationError, WebhookSignature

from workers.kernel.errors import SignatureRefused

BAD_SIGNATURE: Final = "bad_signature"
_TIME = re.compile(r"[0-9]{1,12}")


def verify(body: bytes, header: str | None, secrets: Sequence[str], *, now: datetime, tolerance: int) -> None:
    """Return if any secret vouches for `body` and it was signed within `tolerance` seconds of `now`.

    Raises SignatureRefused with `missing_signature`, `malformed_signature`, `bad_signature` or `too_old`, the last
    one also for a time further ahead than `tolerance`.
    """
    if not header:
        raise SignatureRefused("missing_signature")
    signed_at = _signed_at(header)
    if not any(_vouches(secret, body, header) for secret in secrets):
        raise SignatureRefused(BAD_SIGNATURE)
    if abs(now.timestamp() - signed_at) > tolerance:
        raise SignatureRefused("too_old")


def _signed_at(header: str) -> int:
    """Return the header's epoch seconds. Raises SignatureRefused unless it has a time and a `v1` signature."""
    pairs = [item.partition("=")[::2] for item in header.split(",")]
    times = [value for name, value in pairs if name == "t"]
    signed = any(name == WebhookSignature.EXPECTED_SCHEME and value for name, value in pairs)
    if not (header.isascii() and times and signed and _TIME.fullmatch(times[0])):
        raise SignatureRefused("malformed_signature")
    return int(times[0])


def _vouches(secret: str, body: bytes, header: str) -> bool:
    try:
        # Without a tolerance: the SDK would ask the machine's clock, and only for the past.
        WebhookSignature.verify_header(body, header, secret, tolerance=None)
    except (SignatureVerificationError, UnicodeDecodeError):  # Stripe signs UTF-8 only
        return False
    return True
