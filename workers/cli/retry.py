"""`metermend retry`: take an event or a case up again after its cause was mended."""

from collections.abc import Iterator

import click

from workers.cli.open_ledger import open_context
from workers.kernel.errors import Conflict, InputUnusable
from workers.kernel.ledger.case import Case, CaseState
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.context import Context
from workers.pipeline.upkeep.retry import Retried, retry_case, retry_event


@click.command()
@click.argument("subject", metavar="CASE|EVENT|INCIDENT")
@click.option("--include-uncertain", is_flag=True, help="Also records that may be billed already; needs --approve.")
@click.option("--approve", metavar="NAME", help="Who answers for it; stands in the journal.")
def retry(subject: str, *, include_uncertain: bool, approve: str | None) -> None:
    """Take an event up again, or plan the quarantined records of a case, or of an incident's cases, anew.

    Records that may be billed already stay where they are, unless --include-uncertain and --approve say otherwise.
    """
    if include_uncertain != (approve is not None):
        raise InputUnusable("needs --approve NAME, and --approve needs it", where="--include-uncertain")
    made = open_context()
    if subject.startswith("inc_"):
        if approve is not None:
            raise InputUnusable("answers for one case at a time", where="--approve", mend="name a case")
        done = list(_incident(made, subject))
        hinted, lines = all(told for told, _ in done), [line for _, told in done for line in told]
    elif subject.startswith("case_"):
        retried = retry_case(made, subject, approved_by=approve)
        hinted, lines = retried.hinted, _lines(retried, made.ledger.cases.get(subject))
    else:
        hinted, lines = retry_event(made, subject), [f"{subject}: taken up again"]
    for line in lines:
        click.echo(line)
    if not hinted:
        click.echo("  Redis does not answer, so no worker was told: the clock takes it up at its next round")


def _incident(made: Context, incident_id: str) -> Iterator[tuple[bool, list[str]]]:
    """Retry the cases of an incident that wait for a person; yield whether a worker was told, and what to print."""
    case_ids = made.ledger.incidents.case_ids(incident_id)
    if not case_ids:
        raise InputUnusable("no such incident", where=incident_id, mend="`metermend incidents` lists them")
    waiting = 0
    for case in filter(None, map(made.ledger.cases.get, case_ids)):
        if not case.balance[Bucket.QUARANTINED].records:
            continue
        waiting += 1
        try:
            retried = retry_case(made, case.id)
            yield retried.hinted, _lines(retried, made.ledger.cases.get(case.id))
        except Conflict:
            yield True, [f"{case.id}: a worker holds it; retry it later"]
    if not waiting:
        yield True, [f"{incident_id}: no record is quarantined, so none is planned anew"]


def _lines(retried: Retried, case: Case | None) -> list[str]:
    if case and not (retried.reopened or retried.resent or retried.kept_back or retried.events):
        return [f"{case.id}: {_why_nothing(case)}"]
    kept = [f"  left alone: {count:,} {reason}" for reason, count in sorted(retried.kept_back.items())]
    looked = [f"  looking again for the rows behind {event_id}" for event_id in retried.events]
    sent = [f"  to be sent again as they are: {retried.resent:,}"] if retried.resent else []
    return [f"{retried.case_id}: {retried.reopened:,} records are planned anew", *sent, *looked, *kept]


def _why_nothing(case: Case) -> str:
    if case.state is CaseState.SETTLED and case.balance.failed.records:
        return "nothing to do: it is settled, every record is confirmed, corrected or written off"
    return "no record is quarantined, so none is planned anew; what else is due is taken up now"
