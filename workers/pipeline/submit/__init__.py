"""Planned records on their way to Stripe: sent at most once, and confirmed.

`preflight` asks once more before anything goes, with `guards` (too often, too old, sent elsewhere) and
`window_guards` (pre-aggregated meters); `send` writes the intent, hands it to its target and notes the answer;
`verdicts`, `outcomes`, `arrival` and `confirm` tell what became of it. Imports `record_sets`, `context`,
`reasons` and the adapters. Start with `send`.
"""
