"""What is done beside the events: `retry` for a person, `reconcile` with Stripe's lists, `retention`, `backup`.

Imports `record_sets`, `context`, `reasons` and the adapters. Start with `reconcile`.
"""
