"""`metermend events`: what Stripe has told, those that failed first; `events show` and `events retry` for one."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import click

from workers.cli.moments import moment
from workers.cli.open_ledger import open_context, open_stores
from workers.cli.paragraphs import paragraph, rows, terminal_width
from workers.cli.retry import take_up
from workers.kernel.case_title import title_of
from workers.kernel.clock import to_text, utc_now
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.event_list import EventFilter, EventRow
from workers.kernel.ledger.events import EventState, Origin, StoredEvent

_CAME: Final = {
    Origin.DELIVERED: "As delivered",
    Origin.RECONCILED: "As found in Stripe's own list",
    Origin.GIVEN: "As given by a person",
}
COLUMNS = ("event", "state", "received", "tries", "type")


@click.group(invoke_without_command=True)
@click.option("--type", "type_", metavar="TYPE", help="Of one of Stripe's types.")
@click.option(
    "--state", "states", multiple=True, type=click.Choice([str(s) for s in EventState]), help="May be repeated."
)
@click.option("--since", metavar="TIME", help="Received since: 30min, 36h, 3d, or a time.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Events at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
@click.pass_context
def events(
    ctx: click.Context, type_: str | None, states: tuple[str, ...], since: str | None, limit: int, *, as_json: bool
) -> None:
    """List events, those that failed first, then the last received; `events show EVENT` shows one."""
    if ctx.invoked_subcommand is not None:
        return
    now = utc_now()
    wanted = EventFilter(
        type=type_,
        states=[EventState(state) for state in states],
        since=moment(since, now, where="--since") if since else None,
    )
    ledger, _ = open_stores()
    found = ledger.event_list.find(wanted, limit)
    there = ledger.event_list.count(wanted) if len(found) == limit else len(found)
    ledger.close()
    if as_json:
        click.echo(json.dumps(list(map(_row_json, found)), indent=2))
    else:
        click.echo("\n".join(_lines(found, terminal_width())))
    if there > len(found):
        click.echo(f"{there - len(found):,} more: --limit {there}", err=True)


@events.command()
@click.argument("event")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(event: str, *, as_json: bool) -> None:
    """Show EVENT: its body as stored, as fetched from Stripe where it is a thin one, and what it has led to."""
    ledger, _ = open_stores()
    stored = ledger.events.get(event)
    if stored is None:
        raise InputUnusable("there is no such event", where=event, mend="`metermend events` lists them")
    fetched = ledger.events.fetched(event)
    if as_json:
        click.echo(json.dumps(_as_json(ledger, stored, fetched), indent=2))
    else:
        click.echo("\n".join(_shown(ledger, stored, fetched, terminal_width(), utc_now())))
    ledger.close()


@events.command()
@click.argument("event")
@click.option("--as", "actor", metavar="NAME", help="Who asks; the login by default.")
@click.option("--reason", "why", metavar="TEXT", default="the cause was mended", show_default=True)
def retry(event: str, actor: str | None, why: str) -> None:
    """Take EVENT up again now; what it has brought into a journal already is not counted twice."""
    take_up(open_context(), event, {"cases": [], "events": [event]}, actor, why)


def _lines(found: Sequence[EventRow], width: int | None) -> Iterator[str]:
    if not found:
        yield "no events"
        return
    yield from rows([COLUMNS, *map(_row, found)], width, right=(3,))


def _row(event: EventRow) -> tuple[str, ...]:
    why = f" ({event.reason.replace('_', ' ')})" if event.reason else ""
    return (event.id, event.state, f"{event.received_at:%Y-%m-%d %H:%M}", str(event.attempts), f"{event.type}{why}")


def _row_json(event: EventRow) -> dict[str, Any]:
    return {**_facts(event), "attempts": event.attempts}


def _facts(event: EventRow | StoredEvent) -> dict[str, Any]:
    return {
        "event": event.id,
        "type": event.type,
        "state": event.state,
        "reason": event.reason,
        "account": event.account,
        "livemode": event.livemode,
        "received_at": to_text(event.received_at),
    }


def _as_json(ledger: Ledger, event: StoredEvent, fetched: bytes | None) -> dict[str, Any]:
    return {
        **_facts(event),
        "attempts": event.attempts,
        "sha256": event.sha256,
        "origin": event.origin,
        "stored": _text(event.raw),
        "fetched": _text(fetched),
        "led_to": [vars(one) for one in ledger.event_list.led_to(event.id)],
    }


def _shown(
    ledger: Ledger, event: StoredEvent, fetched: bytes | None, width: int | None, now: datetime
) -> Iterator[str]:
    why = f": {event.reason.replace('_', ' ')}" if event.reason else ""
    yield from paragraph(event.type, width)
    facts = [event.id, f"{event.state}{why}", "live" if event.livemode else "test mode", event.account or ""]
    yield from paragraph(", ".join(filter(None, facts)), width)
    tried = f"received {event.received_at:%Y-%m-%d %H:%M} UTC, tries: {event.attempts:,}"
    yield from paragraph(tried, width)
    if event.state is EventState.FAILED:
        yield f"\nMend the cause, then: metermend events retry {event.id}"
    yield "\nWhat it led to"
    yield from _led_to(ledger, event, width, now)
    yield f"\n{_CAME[event.origin]}"
    yield from _body(event.raw)
    if fetched is not None:
        yield "\nAs fetched from Stripe"
        yield from _body(fetched)


def _led_to(ledger: Ledger, event: StoredEvent, width: int | None, now: datetime) -> Iterator[str]:
    led_to = ledger.event_list.led_to(event.id)
    for one in led_to:
        case = ledger.cases.get(one.case_id)
        title = title_of(case, now) if case else ""
        yield from paragraph(f"{one.case_id}: {title}", width, indent="  ", hanging="    ")
    if not led_to:
        yield "  nothing: no case's journal names it"


def _body(raw: bytes | None) -> Iterator[str]:
    """Yield a body, indented where it is JSON."""
    if raw is None:
        yield "  removed after its time; its digest stays"
        return
    try:
        text = json.dumps(json.loads(raw), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = _text(raw) or ""
    yield from (f"  {line}" for line in text.split("\n"))


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "replace")
