"""How what records wait for is named: alike where a remedy says it, an event brings it and the ledger keeps it."""

from typing import Final

CUSTOMER: Final = "customer:"
"""Begins the name of an awaited customer, whose id follows."""
METER: Final = "meter:"
"""Begins the name of an awaited meter, whose event name follows."""
