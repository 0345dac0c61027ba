"""`metermend retry`: take an event or a case up again after its cause was mended."""

import click

from workers.kernel.errors import InputUnusable
from workers.pipeline.reopening import Retried, retry_case, retry_event


@click.command()
@click.argument("subject", metavar="CASE|EVENT")
@click.option("--include-uncertain", is_flag=True, help="Also records that may be billed already; needs --approve.")
@click.option("--approve", metavar="NAME", help="Who answers for it; stands in the book.")
def retry(subject: str, *, include_uncertain: bool, approve: str | None) -> None:
    """Take an ended event up again, or plan a case's quarantined records anew.

    Records that may be billed already stay where they are, unless --include-uncertain and --approve say otherwise.
    """
    from workers.bootstrap import context

    if include_uncertain != (approve is not None):
        raise InputUnusable("needs --approve NAME, and --approve needs it", where="--include-uncertain")
    if subject.startswith("case_"):
        for line in _lines(retry_case(context(), subject, approved_by=approve)):
            click.echo(line)
    else:
        retry_event(context(), subject)
        click.echo(f"{subject}: taken up again")


def _lines(retried: Retried) -> list[str]:
    kept = [f"  left alone: {count:,} {reason}" for reason, count in sorted(retried.kept_back.items())]
    looked = [f"  looking again for the rows behind {event_id}" for event_id in retried.events]
    sent = [f"  to be sent again as they are: {retried.resent:,}"] if retried.resent else []
    return [f"{retried.case_id}: {retried.reopened:,} records are planned anew", *sent, *looked, *kept]
