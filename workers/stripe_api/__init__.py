"""Stripe's API behind one Protocol: fetching events, meters, files and customers, and recording usage.

It alone knows the SDK; what leaves it is plain dicts and frozen dataclasses, errors are Transient or Permanent, and
every call has a timeout, a bounded number of tries and a pace. It imports `workers.kernel` only. Start at
`api.StripeApi`, then `calls` (one call: pace, tries, translation) and `live`.
"""
