"""The durable truth: events as received, cases with their hash-chained entries, and submissions.

SQL holds what is counted and decided; the records themselves lie in the archive. Every state changes by
compare-and-set, every entry names the one before it. Start reading at `ledger.Ledger`, then `journal` (the
double-entry journal of records) and `cases` (who may write it).
"""

from workers.kernel.ledger.ledger import Ledger, connect

__all__ = ["Ledger", "connect"]
