"""Quantities for the eye: short, and never more exact than they are. Exports and `--json` give the whole text."""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Final

from workers.kernel.ledger.journal import NOT_KNOWN, Tally

_WHOLE_FROM: Final = 1_000
"""From here on a fraction tells nobody anything."""
_HUGE: Final = Decimal(10) ** 15
_SMALLEST: Final = Decimal("0.001")


def rounded(quantity: Decimal) -> str:
    """Write a quantity in some eight characters: `1,234,568`, `12.35`, `0.005`, `<0.001`, `1.2e+18`."""
    size = abs(quantity)
    if size and size < _SMALLEST:
        return f"{'-' if quantity < 0 else ''}<{_SMALLEST}"
    if size >= _HUGE:
        return f"{quantity:.1e}"
    places = Decimal(1) if size >= _WHOLE_FROM else _SMALLEST if size < 1 else Decimal("0.01")
    with localcontext(prec=400):
        text = f"{quantity.quantize(places, ROUND_HALF_EVEN):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rounded_tally(tally: Tally) -> str:
    """Write the quantity of records; it is not known where it is 0 though there are some."""
    return NOT_KNOWN if tally.records and not tally.quantity else rounded(tally.quantity)
