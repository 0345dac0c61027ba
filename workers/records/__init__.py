"""Usage records, vectorised with polars: what one is, and what may be wrong with it.

Pure: it imports `workers.kernel` only, and touches nothing but the files it is given. Start with `schema` (the
canonical frame), then `files` (any file -> parts -> records, and back), `validation` (Stripe's rules) with
`quick_check`. No polars code runs at import, so a process that still forks may import it.
"""
