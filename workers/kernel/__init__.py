"""What the web and the workers share: settings, errors, clock, logs, metrics, codes, and the ledger.

It imports nothing of ours. Start with `errors` and `settings`; `codes` and `reasons` are the words that everything
speaks in, `ledger` is the durable truth, `storage` keeps files under keys, `jobqueue` is what crosses Redis, and
`redis_address` where that is.
"""
