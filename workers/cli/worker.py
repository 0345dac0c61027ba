"""`metermend worker` and `metermend clock`: the two processes behind the web.

Workers do not fork for each job: that costs three quarters of the throughput, a killed parent leaves its child
running anyway, and a process that has executed polars must not fork. The ledger's leases, not RQ, decide when the
work of a dead worker is taken up.
"""

import click
from redis import Redis

from workers.cli.open_ledger import require_ledger
from workers.cli.queue_worker import reachable, work
from workers.kernel import logs
from workers.kernel.jobqueue import EVENTS, FILES
from workers.kernel.settings import Settings, load


@click.command()
@click.option(
    "--queue", "queues", multiple=True, type=click.Choice([EVENTS, FILES]), help="Default: both, events first."
)
@click.option("--burst", is_flag=True, help="Stop when the queues are empty.")
def worker(queues: tuple[str, ...], *, burst: bool) -> None:
    """Work on events and cases until stopped. Start as many as you like, on any machine."""
    redis = _ready(load())
    work(redis, queues or (EVENTS, FILES), burst=burst)


@click.command()
def clock() -> None:
    """Sweep the ledger for what is due, and reconcile with Stripe. One is enough; more do no harm."""
    from workers.bootstrap import context
    from workers.schedule import run_until_signalled

    _ready(load())
    run_until_signalled(context())


def _ready(settings: Settings) -> Redis:
    """Return Redis once all that the settings name can be used; a start that must fail fails here, in one line.

    Raises SettingsUnusable and LedgerUnavailable.
    """
    from workers.bootstrap import context

    logs.configure(settings.log_format)
    redis = reachable(settings.redis_url)
    require_ledger(settings)
    context()
    return redis
