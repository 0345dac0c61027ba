"""`metermend retry` and `release`: retry what waits, since its cause was mended or somebody answers for it."""

import getpass
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import click

from workers.cli.decide import carried_out, choosing, chosen_of, decide, deciding
from workers.cli.open_ledger import open_context
from workers.kernel.counting import counted
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.acts import Act
from workers.kernel.ledger.case import Case, CaseState
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.context import Context
from workers.pipeline.desk import desk
from workers.pipeline.desk.waiting import Chosen


@click.command()
@click.argument("subject", metavar="[CASE|EVENT|INCIDENT]", required=False)
@click.option("--all", "every", is_flag=True, help="All cases of which records are quarantined.")
@choosing
@click.option("--include-uncertain", is_flag=True, help="Also records that may be billed already; needs --approve.")
@click.option("--approve", metavar="NAME", help="Who answers for it; stands in the journal.")
@click.option("--as", "actor", metavar="NAME", help="Who asks; the login by default.")
@click.option("--reason", "why", metavar="TEXT", default="the cause was mended", show_default=True)
def retry(subject: str | None, *, every: bool, include_uncertain: bool, **options: Any) -> None:
    """Retry an event, or the quarantined records of a case or of an incident's cases: all is planned again.

    Without one, --code, --meter, --waiting-for or --all say of all cases which records are meant. Records that may
    be billed already stay where they are: `metermend release` lets them go.
    """
    if include_uncertain != (options["approve"] is not None):
        raise InputUnusable("needs --approve NAME, and --approve needs it", where="--include-uncertain")
    if include_uncertain and not (subject or "").startswith("case_"):
        raise InputUnusable("answers for one case at a time", where="--approve", mend="name a case")
    chosen, made = chosen_of(options), open_context()
    if (subject is None) == (chosen.is_all and not every):
        raise InputUnusable("name a case, an event or an incident, or which records of all cases are meant")
    cases, events = _subjects(made, subject, chosen)
    if not cases and not events:
        click.echo(f"{subject or 'all cases'}: no record is quarantined, so there is nothing to retry")
        return
    arguments = {"cases": cases, "events": events, "chosen": asdict(chosen), "uncertain": include_uncertain}
    take_up(made, subject, arguments, options["approve"] or options["actor"], options["why"])


@click.command()
@click.argument("case")
@choosing
@deciding
def release(case: str, **options: Any) -> None:
    """Let records of CASE go that may be billed already: you have looked in Stripe, and answer for them.

    Of unconfirmed ones only what Stripe's totals show nothing of.
    """
    made = open_context()
    decide(made, "release", case, {"cases": [case], "chosen": asdict(chosen_of(options))}, options)


def take_up(made: Context, subject: str | None, arguments: Mapping[str, Any], actor: str | None, why: str) -> None:
    """Book a retry under who asks, the login by default, carry it out, and print what came of it."""
    actor = actor or getpass.getuser()
    act, _ = desk.ask(made, "retry", subject, arguments, actor=actor, why=why)
    done = carried_out(made, act, actor)
    for line in _told(made, done) if done else ():
        click.echo(line)


def _subjects(made: Context, subject: str | None, chosen: Chosen) -> tuple[list[str], list[str]]:
    """Return the cases and the events that are meant."""
    if subject is None:
        waiting = made.ledger.queries.waiting_cases()
        own = made.settings.livemode
        mine = [case for case in waiting if own is None or case.failure.livemode is own]
        return [case.id for case in mine if desk.concerns(made, case.id, chosen)], []
    if subject.startswith("inc_"):
        case_ids = made.ledger.incidents.case_ids(subject)
        if not case_ids:
            raise InputUnusable("no such incident", where=subject, mend="`metermend incidents` lists them")
        found = filter(None, map(made.ledger.cases.get, case_ids))
        return [case.id for case in found if case.balance[Bucket.QUARANTINED].records], []
    return ([subject], []) if subject.startswith("case_") else ([], [subject])


def _told(made: Context, act: Act) -> Iterator[str]:
    outcome = act.outcome or {}
    yield from (f"{event_id}: retried" for event_id in act.arguments["events"])
    for case_id, retried in outcome["cases"].items():
        yield from _lines(case_id, retried, made.ledger.cases.get(case_id))
    yield from (f"  left as it is: {why}" for why in outcome["left"])
    if outcome["records"]:
        yield f"  metermend take-back {act.id} undoes it, until it is sent"
    if not outcome["hinted"]:
        yield "  Redis does not answer, so no worker was told: the clock takes it up at its next round"


def _lines(case_id: str, retried: Mapping[str, Any], case: Case | None) -> list[str]:
    reopened, resent, kept_back, events = (retried[name] for name in ("reopened", "resent", "kept_back", "events"))
    if case and not (reopened or resent or kept_back or events):
        return [f"{case_id}: {_why_nothing(case)}"]
    kept = [f"  left alone: {count:,} {reason}" for reason, count in sorted(kept_back.items())]
    looked = [f"  looking again for the rows behind {event_id}" for event_id in events]
    sent = [f"  to be sent again as they are: {resent:,}"] if resent else []
    return [f"{case_id}: {counted(reopened, 'record')} retried", *sent, *looked, *kept]


def _why_nothing(case: Case) -> str:
    if case.state is CaseState.SETTLED and case.balance.failed.records:
        return "nothing to do: it is settled, every record is confirmed, corrected or written off"
    return "no record is quarantined, so there is nothing to retry; what else is due is done now"
