"""Reading any usage file into canonical frames, part by part, and writing the files that Stripe takes.

It knows no rules of Stripe's beyond their file shapes. Start with `open`, the way in: `detect` says what a file is,
`decode` makes text of it, `layout` and `headers` say which column is which, `split` cuts it into parts for
`csv_part` and `json_part`; `stripe_formats` and `write` are the way out. Polars' own readers are not used: read as
text, `read_ndjson` turns `0.10` into `0.1`, `1e3` into `1000` and long numbers into others; `read_csv` pads short
rows and turns blank lines into null rows.
"""
