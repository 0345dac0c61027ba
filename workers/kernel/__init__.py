"""What the web and the workers share: settings, errors, clock, logs, metrics, codes, and the ledger.

It imports nothing of ours. `settings` and `errors` come first; `ledger` is the durable truth, and `jobqueue`
names what crosses Redis.
"""
