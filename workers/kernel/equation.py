"""The equation of the ledger, as it is shown: every refused record stands on its right side exactly once."""

from collections.abc import Iterator, Mapping
from typing import Final

from workers.kernel.ledger.journal import IN_FLIGHT, Balance, Bucket, Found, Tally

TERMS: Final = {
    "confirmed": (Bucket.CONFIRMED,),
    "in flight": IN_FLIGHT,
    "deferred": (Bucket.DEFERRED,),
    "quarantined": (Bucket.QUARANTINED,),
    "corrected": (Bucket.CORRECTED,),
    "written off": (Bucket.WRITTEN_OFF,),
}
"""The right side, in its order."""
KNOWN_BY: Final[Mapping[str, str]] = {
    Found.NAMED: "named by Stripe",
    Found.EXACT: "found in your usage, as many as Stripe has counted",
    Found.CERTAIN: "found in your usage, of a kind that Stripe can never have accepted",
    Found.PROVED: "found in your usage, and missing in Stripe's totals",
    Found.UNEXPLAINED: "only counted by Stripe, and not found",
}
"""How the rows of refused records are known, in words."""
READABLE: Final = "readable quantity"
"""What sums are: a record whose quantity cannot be read adds nothing to them."""


def terms(balance: Balance) -> Iterator[tuple[str, Tally]]:
    """Yield the right side's terms."""
    for name, buckets in TERMS.items():
        yield name, sum((balance[bucket] for bucket in buckets), Tally())


def lines(balance: Balance) -> Iterator[str]:
    """Yield the equation as a block for a narrow terminal."""
    right = [(f"{'+' if number else '='} {name}", tally) for number, (name, tally) in enumerate(terms(balance))]
    rows = [("failed", balance.failed), *right]
    width = max(len(READABLE), *(len(tally.shown) for _, tally in rows))
    yield f"  {'':<13} {'records':>12}  {READABLE:>{width}}"
    for name, tally in rows:
        yield f"  {name:<13} {tally.records:>12,}  {tally.shown:>{width}}"
