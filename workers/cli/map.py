"""`metermend map`: what somebody means by a text, said once; shown on all that waits, then in force everywhere."""

from typing import Any

import click

from workers.cli.decide import decide, deciding
from workers.cli.open_ledger import open_context
from workers.remedies.made_rules import RuleKind


@click.group("map")
def map_() -> None:
    """Say what a text means: a rule. It is tried on all waiting records first, and holds at once when you agree."""


@map_.command()
@click.argument("old")
@click.argument("new")
@deciding
def customer(old: str, new: str, **options: Any) -> None:
    """Take the customer NEW where OLD stands, whom Stripe does not know."""
    _map(RuleKind.CUSTOMER, old, new, options)


@map_.command()
@click.argument("old")
@click.argument("new")
@deciding
def meter(old: str, new: str, **options: Any) -> None:
    """Take the event name NEW where OLD stands, which no meter has."""
    _map(RuleKind.METER, old, new, options)


@map_.command("value-key")
@click.argument("meter")
@click.argument("key")
@deciding
def value_key(meter: str, key: str, **options: Any) -> None:
    """Take the quantity of METER from the payload's KEY where the meter's own key is empty."""
    _map(RuleKind.VALUE_KEY, meter, key, options)


@map_.command("decimal-mark")
@click.argument("meter")
@click.argument("mark", type=click.Choice([",", "."]))
@click.option("--thousands", type=click.Choice([".", ",", "'", " "]), help="The mark between groups of digits.")
@deciding
def decimal_mark(meter: str, mark: str, thousands: str | None, **options: Any) -> None:
    """Read the quantities of METER (`*`: of every one) by MARK: `,` makes 12,5 twelve and a half."""
    _map(RuleKind.DECIMAL_MARK, meter, mark + (thousands or ""), options)


def _map(kind: RuleKind, key: str, value: str, options: dict[str, Any]) -> None:
    decide(open_context(), "make_rule", None, {"rule": kind.value, "key": key, "value": value}, options)
