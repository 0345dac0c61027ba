"""Taking back what was submitted: by cancelling it at Stripe (`cancel`), or with negative usage (`reverse`).

`approvals` tells what somebody has approved and what broke off. Imports `submit` and what lies below it. Start with
`cancel`.
"""
