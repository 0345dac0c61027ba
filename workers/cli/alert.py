"""`metermend alert`: whether a message arrives, and what the digest of the last week says."""

from contextlib import suppress

import click

from workers.alerts import NextStep, PrintedAlerts, Trouble
from workers.cli.open_ledger import open_context
from workers.kernel.errors import LedgerUnavailable
from workers.kernel.ledger import connect
from workers.kernel.ledger.heartbeats import Sign
from workers.kernel.settings import load

TEST = Trouble(
    "test",
    "A test of metermend's alerts",
    "Somebody ran `metermend alert test`. Nothing is wrong, and alerts arrive here.",
    next_step=NextStep("Nothing is to be done."),
)


@click.group()
def alert() -> None:
    """Look after the way that alerts go."""


@alert.command()
def test() -> None:
    """Send one message by the way that is set up, and say what came of it. Exits with 2 when it was not taken."""
    from workers.bootstrap import alerts_of

    settings = load()
    alerts = alerts_of(settings)
    alerts.post(TEST)
    if isinstance(alerts, PrintedAlerts):
        click.echo("Printed above: neither SLACK_WEBHOOK_URL nor SLACK_BOT_TOKEN with SLACK_CHANNEL is set.")
        return
    click.echo("Slack has taken the message. Look whether it stands in the right channel.")
    with suppress(LedgerUnavailable):
        ledger = connect(settings.database_url.get_secret_value())
        ledger.heartbeats.beat(Sign.ALERT_TAKEN)
        ledger.close()


@alert.command()
def digest() -> None:
    """Print the digest of the last seven days. Nothing is sent: DIGEST says when that is."""
    from workers.pipeline.notify.weekly import WEEK, digest_since

    context = open_context()
    found = digest_since(context, context.clock() - WEEK)
    if found is None:
        click.echo("Nothing was refused or decided in the last seven days, and nothing waits for anybody.")
    else:
        PrintedAlerts().post(found)
