"""How many records of a case Stripe has counted of which no row was found."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from workers.kernel.ledger.only_counted import unlocated
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.reasons import AMBIGUOUS_IN_SOURCES, NOT_IN_SOURCES, NOT_SAMPLED

_WITHOUT_ROWS: Final = (NOT_SAMPLED, NOT_IN_SOURCES, AMBIGUOUS_IN_SOURCES)


def missing(journal: Sequence[EntryRow]) -> Counter[str]:
    """Return how many records are counted without rows, by reason, but for those that may be ours."""
    counted = unlocated(journal)
    return Counter({reason: counted[reason] for reason in _WITHOUT_ROWS if counted[reason]})


def perhaps_ours(journal: Sequence[EntryRow]) -> int:
    """Return how many records are counted without rows that may be ones of our own submissions."""
    return unlocated(journal).total() - missing(journal).total()
