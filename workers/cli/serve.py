"""`metermend serve`: web, worker and clock together, for a laptop."""

import time

import click
from redis import Redis
from redis.exceptions import RedisError

from workers.cli.processes import Processes, Ready, free_port, own_command, redis_command, web_command
from workers.kernel.errors import SettingsUnusable
from workers.kernel.ledger import connect
from workers.kernel.ledger.schema import upgrade
from workers.kernel.settings import Settings, load, problems

_DEFAULT_REDIS = Settings.model_fields["redis_url"].default


@click.command()
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes.")
def serve(workers: int) -> None:
    """Run web, worker and clock together until Ctrl-C. In production run the lines of the Procfile instead."""
    settings = load()
    for problem in problems(settings):
        if problem.fatal:
            raise SettingsUnusable(problem.what, where=problem.setting, mend=problem.mend)
    ledger = connect(settings.database_url)
    upgrade(ledger.database)
    ledger.close()
    with Processes(settings.scratch_dir.parent / "logs") as processes:
        env = {"REDIS_URL": _redis(settings, processes)}
        processes.start("web", web_command(settings.port), env)
        for number in range(workers):
            processes.start(f"worker-{number + 1}", own_command("worker"), env)
        processes.start("clock", own_command("clock"), env)
        processes.wait_until(Ready("127.0.0.1", settings.port), "web", 20)
        _announce(settings, processes)
        _watch(processes)


def _redis(settings: Settings, processes: Processes) -> str:
    """Return the address of a Redis that answers: the one that is set, else one of our own."""
    if _answers(settings.redis_url):
        return settings.redis_url
    if settings.redis_url != _DEFAULT_REDIS:
        raise SettingsUnusable("does not answer", where="REDIS_URL", mend="start it, or unset REDIS_URL")
    port = free_port(6379)
    processes.start("redis", redis_command(port, settings.scratch_dir.parent / "redis"))
    processes.wait_until(Ready("127.0.0.1", port), "redis", 10)
    return f"redis://127.0.0.1:{port}/0"


def _answers(url: str) -> bool:
    try:
        return bool(Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1).ping())
    except RedisError:
        return False
    except ValueError as error:
        raise SettingsUnusable(str(error), where="REDIS_URL", mend="redis://host:6379/0") from None


def _announce(settings: Settings, processes: Processes) -> None:
    click.echo(f"webhooks  http://127.0.0.1:{settings.port}/webhooks")
    click.echo(f"console   http://127.0.0.1:{settings.port}/console")
    click.echo(f"logs      {processes.log_dir}")
    click.echo("Ctrl-C stops everything.")


def _watch(processes: Processes) -> None:
    try:
        while (ended := processes.first_ended()) is None:
            time.sleep(0.5)
    except KeyboardInterrupt:
        click.echo("stopping")
        return
    name, code = ended
    raise click.ClickException(f"{name} ended with exit code {code}: see {processes.log_dir / name}.log")
