"""`metermend worker` and `metermend clock`: the two processes behind the web.

Workers do not fork for each job: that costs three quarters of the throughput, a killed parent leaves its child
running anyway, and a process that has executed polars must not fork. The ledger's leases, not RQ, decide when the
work of a dead worker is taken up.
"""

import click
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from rq.worker import SimpleWorker

from workers.kernel import logs
from workers.kernel.contract import EVENTS, FILES
from workers.kernel.settings import load


@click.command()
@click.option(
    "--queue", "queues", multiple=True, type=click.Choice([EVENTS, FILES]), help="Default: both, events first."
)
@click.option("--burst", is_flag=True, help="Stop when the queues are empty.")
def worker(queues: tuple[str, ...], *, burst: bool) -> None:
    """Work on events and cases until stopped. Start as many as you like, on any machine."""
    settings = load()
    logs.configure(settings.log_format)
    redis = Redis.from_url(settings.redis_url)
    named = [Queue(name, connection=redis, serializer=JSONSerializer) for name in queues or (EVENTS, FILES)]
    SimpleWorker(named, connection=redis, serializer=JSONSerializer).work(burst=burst, logging_level="WARNING")


@click.command()
def clock() -> None:
    """Sweep the ledger for what is due, and reconcile with Stripe. One is enough; more do no harm."""
    from workers.bootstrap import context
    from workers.schedule import run_until_signalled

    run_until_signalled(context())
