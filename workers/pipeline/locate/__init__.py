"""Which records Stripe refused where it names samples only: found in the sender's usage, proved by the count.

`predict` says which rows Stripe must have refused and under which code, `suspects` gathers those from the files
that can have been validated, `judge` compares them with the count and `proof` with Stripe's totals, `elsewhere`
holds what another file may have billed, `words` says what a person is told, and `locate` writes down what may be
resubmitted. It imports `intake` and what lies below. Start with `locate`.
"""
