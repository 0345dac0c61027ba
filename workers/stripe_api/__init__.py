"""Stripe's API behind one Protocol: fetching events, meters, files and customers, and recording usage.

It alone knows the SDK; what leaves it is plain dicts and frozen dataclasses, errors are Transient or Permanent, and
every call has a timeout, a bounded number of tries and a pace. It imports `workers.kernel` only. Start at
`protocol.StripeApi`, then `call` (one call: pace, tries, translation) and `client`.
"""

from workers.stripe_api.client import LiveStripeApi
from workers.stripe_api.pace import Limits
from workers.stripe_api.protocol import (
    Grouping,
    Json,
    MeterEventReceipt,
    StripeApi,
    Summary,
)

__all__ = [
    "Grouping",
    "Json",
    "Limits",
    "LiveStripeApi",
    "MeterEventReceipt",
    "StripeApi",
    "Summary",
]
