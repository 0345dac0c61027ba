"""Usage records, vectorised with polars: reading any usage file into canonical frames, judging, and writing.

Pure: it imports `workers.kernel` only, and touches nothing but the files it is given.
Start with `schema` (the canonical frame), then `reader.open_file` (any file -> parts -> records), `facts` (what
only the whole file can tell), `template` (Stripe's file shapes), `gapped_text` (how most records are written
without a frame) and `record_set` (Parquet in the archive).
No polars code runs at import, so a process that still forks may import it.
"""
