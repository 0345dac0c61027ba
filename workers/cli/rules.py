"""`metermend rules`: are the rules sound, what would they change, and which have people made."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
from rich.measure import Measurement
from rich.table import Table

from workers.cli.decide import decide, deciding
from workers.cli.open_ledger import open_context, open_stores
from workers.cli.options import PATH, engine_options, knowledge, plan_options
from workers.cli.show import amount_text, show_unchecked
from workers.kernel import terminal
from workers.kernel.clock import to_text
from workers.kernel.codes import Outcome
from workers.kernel.counting import counted
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.rules import MadeRule
from workers.kernel.settings import load
from workers.offline.explain_rules import Explained, RuleChange, explain
from workers.pipeline.desk.rule_orders import in_words
from workers.records import quantities
from workers.remedies import Rules, load_rules
from workers.remedies.made_rules import contradictions
from workers.remedies.rules import DEFAULT_HORIZON_HOURS

_SHOWN: Final = 20


@click.group()
def rules() -> None:
    """Look at rules before they decide about money, and end those that people have made."""


@rules.command()
@click.argument("path", metavar="RULES", type=PATH)
def check(path: Path) -> None:
    """Validate a rules file, and say what is in it."""
    loaded = load_rules(path)
    click.echo(f"{path}: sound. {_inventory(loaded)}")


@rules.command(name="explain")
@engine_options
def explain_command(files: tuple[Path, ...], as_json: bool, strict: bool, **given: Any) -> None:
    """Show what the rules would change on files: before -> after, with records and quantity. Writes nothing."""
    del strict
    if given["rules"] is None:
        raise InputUnusable("it is missing", where="--rules", mend="name the rules to explain")
    known = knowledge(given)
    explained = explain(files, catalog=known.catalog, rules=known.rules, now=known.now, options=plan_options(given))
    if as_json:
        click.echo(json.dumps({**_document(explained), "not_checked": known.unchecked}))
    else:
        _show(explained, known.unchecked)


@rules.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def kinds(*, as_json: bool) -> None:
    """List the kinds of faults that Stripe has been seen to refuse.

    Of a record of such a kind that Stripe can never have accepted, no sample is needed: it may be resubmitted even
    where Stripe counts more than can be found.
    """
    ledger, _ = open_stores()
    known = ledger.fault_kinds.all()
    ledger.close()
    if as_json:
        click.echo(json.dumps([{**asdict(kind), "seen_at": to_text(kind.seen_at)} for kind in known]))
        return
    for kind in known:
        account = f"{kind.account}  " if kind.account else ""
        said = (
            f"struck off: {kind.struck}" if kind.struck else f"{kind.seen_at:%Y-%m-%d %H:%M} UTC, {kind.event_id}"
        )
        click.echo(terminal.visible(f"{account}{kind.kind}  ({said})"))
    if not known:
        click.echo("none yet: Stripe has named no refused record whose row was found")


@rules.command("list")
@click.option("--all", "every", is_flag=True, help="Also those that were reverted.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def list_rules(*, every: bool, as_json: bool) -> None:
    """List the rules that people have made (`metermend map`), and say where rules.toml contradicts one."""
    ledger, _ = open_stores()
    made = ledger.rules.history() if every else ledger.rules.in_force()
    file = load().rules_file
    said = {one.rule.id: one.file_says for one in contradictions(load_rules(file) if file else Rules(), made)}
    ledger.close()
    if as_json:
        click.echo(json.dumps([_as_json(rule, said.get(rule.id)) for rule in made], indent=2))
        return
    for rule in made:
        ended = f", reverted by {rule.reverted_by} {rule.reverted_at:%Y-%m-%d %H:%M}" if rule.reverted_at else ""
        click.echo(f"{rule.id}  {in_words(rule.kind, rule.key, rule.value)}{ended}")
        click.echo(f"  {rule.actor}, {rule.made_at:%Y-%m-%d %H:%M} UTC: {rule.why}")
        if rule.id in said and not rule.reverted_at:
            click.echo(f"  rules.toml says {said[rule.id]}: the later word holds, until `metermend rules revert`")
    if not made:
        click.echo("nobody has made a rule: `metermend map` does; what stands in rules.toml holds")


@rules.command()
@click.argument("rule")
@deciding
def revert(rule: str, **options: Any) -> None:
    """End a RULE that somebody has made. What it has repaired already stays; `metermend take-back` undoes that."""
    decide(open_context(), "revert_rule", rule, {"rule_id": rule}, options)


def _as_json(rule: MadeRule, file_says: str | None) -> dict[str, Any]:
    ended = to_text(rule.reverted_at) if rule.reverted_at else None
    return {**asdict(rule), "made_at": to_text(rule.made_at), "reverted_at": ended, "rules_toml": file_says}


def _inventory(loaded: Rules) -> str:
    times = loaded.timestamps
    counts = {
        "customer alias": loaded.customer_aliases.height,
        "customer metadata key": int(loaded.customers.metadata_key is not None),
        "event name alias": loaded.event_aliases.height,
        "missing-customer rule": len(loaded.customers.missing),
        "value rule": len(loaded.values),
        "time zone": int(times.naive_zone is not None),
        "time format": len(times.formats),
        "time shift": int(times.shift_seconds != 0),
        "time horizon": int(times.horizon_hours != DEFAULT_HORIZON_HOURS),
        "too-old rule": int(times.clamp_too_old or times.redate_too_old_to is not None),
        "archived-meter rule": len(loaded.archived_meters),
        "dimension rule": len(loaded.dimensions),
    }
    return ", ".join(counted(count, name) for name, count in counts.items() if count) or "It has no rules."


def _document(explained: Explained) -> dict[str, Any]:
    return {
        "without": explained.without.as_json(),
        "with": explained.with_rules.as_json(),
        "changes": [
            asdict(change) | {"quantity": None if change.quantity is None else quantities.to_text(change.quantity)}
            for change in explained.changes
        ],
    }


def _show(explained: Explained, unchecked: Sequence[str]) -> None:
    console = terminal.console(highlight=False, emoji=False)
    if explained.changes:
        changes = _changes(explained, ".")
        fits = Measurement.get(console, console.options, changes).maximum < console.width
        console.print(changes if fits else _changes(explained, ".\n"))
    if len(explained.changes) > _SHOWN:
        console.print(f"and {len(explained.changes) - _SHOWN:,} more (--json lists all)")
    console.print(_outcomes(explained))
    show_unchecked(console, unchecked)


def _changes(explained: Explained, joint: str) -> Table:
    """Return the table of changes; `joint` stands between a rule's code and its name: neither is broken."""
    changes = Table(box=None, pad_edge=False)
    changes.add_column("rule", no_wrap=True)
    for text in ("before", "after"):
        changes.add_column(text, overflow="fold", min_width=len(text))
    changes.add_column("records", justify="right", no_wrap=True)
    changes.add_column("quantity", justify="right", no_wrap=True)
    for change in explained.changes[:_SHOWN]:
        changes.add_row(
            change.remedy.replace(".", joint),
            _quoted(change.before),
            _quoted(change.after),
            f"{change.records:,}",
            _amount(change),
        )
    return changes


def _amount(change: RuleChange) -> str:
    of_unknown = change.quantity is not None and change.unreadable_quantity
    return amount_text(change.quantity) + (f", {change.unreadable_quantity:,} not known" if of_unknown else "")


def _outcomes(explained: Explained) -> Table:
    table = Table("", box=None, pad_edge=False)
    table.add_column("without", justify="right")
    table.add_column("with rules", justify="right")
    for outcome in Outcome:
        counts = (outcomes.records.get(outcome, 0) for outcomes in (explained.without, explained.with_rules))
        table.add_row(outcome, *(f"{count:,}" for count in counts))
    return table


def _quoted(text: str | None) -> str:
    return "-" if text is None else repr(text)
