"""The loop: find what Stripe refused, decide, submit, confirm, tell. One folder for each phase, in that order.

`run` works on one event or case and ends every failure where it can be seen; `advance` carries a case on from
wherever its journal says it stands, so that a crash at any point is taken up by calling it again. Phases import
downwards only: run > advance > intake, plan, undo > submit, upkeep, audit, notify > approvals, hold > record_sets
and what stands beside it > context, case_key. Start reading at `advance`.
"""
