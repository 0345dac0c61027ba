"""What an auditor asks: does the ledger hold (`prove`), where is each record (`record_trail`, `export`).

`anchor` and `whole_ledger` find what no case shows by itself. Reads only. Imports `record_sets`, `context` and the
kernel. Start with `prove`.
"""
