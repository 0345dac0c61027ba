"""`metermend forget`: one customer erased at his request, for ever."""

from typing import Any

import click

from workers.cli.decide import decide, deciding
from workers.cli.open_ledger import open_context
from workers.kernel.ledger.acts import FORGET


@click.command()
@click.argument("customer")
@deciding
def forget(customer: str, **options: Any) -> None:
    """Erase CUSTOMER, such as `cus_…`, from the ledger, the archive and the scratch folder. Nothing undoes it.

    What would go is shown first. Records, quantities and digests stay, so `metermend prove` holds. Refused while
    records of the customer are not settled.
    """
    decide(open_context(), FORGET, None, {"customer": customer}, options)
