"""HTTP in: Stripe's signed posts, health, metrics and the operator's console.

It owns no business: an event is verified, committed to the ledger, hinted to the queue and answered. It imports
`workers.kernel` and nothing else of the workers, and never polars. Start reading at `receiver`, then `app`.
"""
