"""`metermend audit` finds what no event told: usage that Stripe lacks, or has more than once."""

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import groupby

import click

from workers.cli.open_ledger import open_context
from workers.kernel.errors import InputUnusable
from workers.pipeline.audit.audit_case import sentence_of
from workers.pipeline.audit.audit_walk import Finding, Question, Walk
from workers.pipeline.audit.totals_check import Verdict

_WIDTH = 80
_DIFFERENCES = (Verdict.MISSING, Verdict.SURPLUS)


@click.command()
@click.option("--since", metavar="DAY", help="First UTC day, such as 2026-11-01. Default: seven days back.")
@click.option("--meter", metavar="NAME", help="Only the meter of this event name.")
@click.option("--customer", metavar="ID", help="Only this customer of Stripe's.")
@click.option("--strict", is_flag=True, help="Exit with 1 where totals differ, or the audit is not at its end.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def audit(since: str | None, meter: str | None, customer: str | None, *, strict: bool, as_json: bool) -> None:
    """Compare Stripe's totals with your own records, for each meter that adds up, customer and UTC day.

    Your records are the rows under USAGE_SOURCES that Stripe can have accepted, less what it is known to have
    refused, and what metermend has sent. A difference opens a case that only a person may resolve. At most
    AUDIT_CALLS calls a day; the same command goes on where the last one stopped.
    """
    walk = Walk(open_context(), Question(_day(since), meter, customer))
    findings = list(walk.findings())
    click.echo(json.dumps(_document(walk, findings), indent=2) if as_json else "\n".join(_lines(walk, findings)))
    if strict and (walk.stopped or _differing(findings)):
        raise click.exceptions.Exit(1)


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise InputUnusable(f"{text!r} is no day", where="--since", mend="2026-11-01") from None


def _differing(findings: Sequence[Finding]) -> list[Finding]:
    return [one for one in findings if one.compared and one.compared.verdict in _DIFFERENCES]


def _document(walk: Walk, findings: Sequence[Finding]) -> dict[str, object]:
    compared = [
        {"account": one.account, **one.compared.as_json(), "case": one.case_id} for one in findings if one.compared
    ]
    left_out = [
        {"account": one.account, "meter": one.meter.event_name, "why": one.why} for one in findings if one.why
    ]
    days = {"first": walk.first.isoformat(), "last": walk.last.isoformat()}
    return {**days, "compared": compared, "not_comparable": left_out, "stopped": walk.stopped}


def _lines(walk: Walk, findings: Sequence[Finding]) -> Iterator[str]:
    yield f"days {walk.first} to {walk.last} (UTC)"
    for (account, name), of_meter in groupby(findings, lambda one: (one.account or "", one.meter.event_name)):
        yield from _of_meter(f"{name} of {account}" if account else name, list(of_meter))
    differing = _differing(findings)
    for one in differing:
        yield ""
        yield from _difference(one)
    yield ""
    if walk.stopped:
        yield from _wrapped("The calls of this day (AUDIT_CALLS) are used up: run the same command tomorrow.", "")
    if differing:
        yield from _wrapped("Next: see each case in the console, or `metermend cases --state needs_person`.", "")
    elif not walk.stopped:
        yield "Nothing to do." if findings else "No meter was used."


def _of_meter(name: str, findings: Sequence[Finding]) -> Iterator[str]:
    compared = [one.compared for one in findings if one.compared]
    counts = Counter(one.verdict for one in compared)
    told = ", ".join(f"{counts[verdict]:,} {verdict}" for verdict in Verdict if counts[verdict])
    yield f"{name}: {told or 'not comparable'}"
    for why in filter(None, (one.why for one in findings)):
        yield from _wrapped(why)
    reasons = Counter(one.why for one in compared if one.verdict is Verdict.NOT_COMPARABLE)
    for reason, count in reasons.most_common():
        yield from _wrapped(f"{count:,} not comparable: {reason}")


def _difference(one: Finding) -> Iterator[str]:
    assert one.compared is not None
    yield f"{one.compared.verdict}  {one.compared.day}  {one.compared.customer}  {one.meter.event_name}"
    yield from _wrapped(sentence_of(one.compared))
    yield f"  {one.case_id}"


def _wrapped(text: str, indent: str = "  ") -> Sequence[str]:
    return textwrap.wrap(text, _WIDTH - 1, initial_indent=indent, subsequent_indent=indent, break_long_words=False)
