"""gunicorn's settings for the web process, named to it as a module: `gunicorn -c python:webhooks.gunicorn_conf`.

Read by the master, which forks: nothing here may import polars.
"""

import os
import signal
import sys
from typing import Any

from webhooks import metric_files
from webhooks.startup import login_environment, startable
from workers.kernel.errors import SettingsUnusable
from workers.kernel.settings import load

try:
    settings = startable(load())
except SettingsUnusable as error:
    print(error, file=sys.stderr)  # noqa: T201
    sys.exit(2)
# One login for all worker processes, also for those that are started later.
os.environ.update(login_environment(settings))
# Before any worker imports prometheus_client, which looks at this once: counters of all processes add up there.
metric_files.share()

bind = f"0.0.0.0:{settings.port}"
wsgi_app = "webhooks.wsgi:app"
worker_class = "webhooks.worker.Worker"
# SQLite has one writer: a second process would look for its lock again and again, and some posts wait for seconds.
alone = settings.database_url.get_secret_value().startswith("sqlite")
workers = int(os.environ.get("WEB_CONCURRENCY", "1" if alone else "2"))
worker_connections = 500 if workers == 1 else 250  # each may hold a body of WEBHOOK_MAX_BODY while the rest comes
timeout = 60
graceful_timeout = 30
keepalive = 75  # longer than a load balancer keeps idle connections, so that we never close one it uses
max_requests = 50_000
max_requests_jitter = 5_000
accesslog = None
control_socket_disable = True


def post_fork(_server: Any, worker: Any) -> None:
    """Make room for a worker's counters before it loads the app, and let a stop end it while it does."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the master's handler, inherited, would swallow it
    metric_files.reserve(worker.pid or os.getpid())


def child_exit(_server: Any, worker: Any) -> None:
    """Tell prometheus_client that a worker's live gauges are over; its counters stay."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
