"""The loop: fetch, find, plan, submit, confirm, tell.

`intake` turns an event into cases with their refused records; `advance` carries a case on from wherever its book
says it stands, so that a crash at any point is taken up by calling it again. The steps are `planning`,
`submitting`, `confirming` and `telling`; `book` finds the records that stand in a bucket. Start reading at
`advance`.
"""
