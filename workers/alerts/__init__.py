"""Telling a person: one notice per case and per trouble, in Slack or printed.

It imports `workers.kernel` only. Start at `notice` (what is said), then `blocks` (how Slack shows it) and `alerts`
(the Protocol and who delivers).
"""
