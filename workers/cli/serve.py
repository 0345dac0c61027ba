"""`metermend serve`: web, worker and clock together, for a laptop."""

import time
from contextlib import suppress

import click
from redis.exceptions import RedisError

from webhooks.startup import login_environment, startable
from workers.bootstrap import build
from workers.cli.db import migrate
from workers.cli.processes import Processes, bindable, free_ports, own_command, redis_command, web_command
from workers.kernel.errors import InputUnusable, SettingsUnusable
from workers.kernel.redis_address import connect_redis
from workers.kernel.settings import Settings, load
from workers.kernel.settings_check import problems

_DEFAULT_REDIS = Settings.model_fields["redis_url"].default


@click.command()
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes.")
def serve(workers: int) -> None:
    """Run web, worker and clock together until Ctrl-C. In production run the lines of the Procfile instead.

    Alerts are printed here when SLACK_WEBHOOK_URL is unset; logs go to files.
    """
    settings = _ready_to_start(load())
    try:
        with Processes(settings.scratch_dir.parent / "logs") as processes:
            _start(settings, processes, workers)
            _announce(settings, processes)
            _watch(processes)
    except KeyboardInterrupt:
        with suppress(OSError):  # after a hang-up there is no terminal to write to
            click.echo("stopped; every process is down")


def _ready_to_start(settings: Settings) -> Settings:
    """Return the settings with a port that is free and a login; raises InputUnusable before anything is started."""
    for problem in problems(settings):
        if problem.fatal:
            raise SettingsUnusable(problem.what, where=problem.setting, mend=problem.mend)
    port = bindable(settings.port)
    if port is None:
        raise InputUnusable(f"port {settings.port} is in use", mend="set PORT to another")
    _has_redis(settings)
    build(settings)
    migrate(settings.database_url.get_secret_value())
    return startable(settings.model_copy(update={"port": port}))


def _start(settings: Settings, processes: Processes, workers: int) -> None:
    env = {"REDIS_URL": _redis(settings, processes), **login_environment(settings)}
    processes.start("web", web_command(settings.port), env)
    for number in range(workers):
        processes.start(f"worker-{number + 1}", own_command("worker"), env, prints=True)
    processes.start("clock", own_command("clock"), env, prints=True)
    processes.wait_until_listening("web", settings.port, 20)


def _redis(settings: Settings, processes: Processes) -> str:
    """Return the address of a Redis that answers: the one that is set, else one of our own."""
    if _has_redis(settings):
        return settings.redis_url.get_secret_value()
    [port] = free_ports(6379)
    processes.start("redis", redis_command(port, settings.scratch_dir.parent / "redis"))
    processes.wait_until_listening("redis", port, 10)
    return f"redis://127.0.0.1:{port}/0"


def _has_redis(settings: Settings) -> bool:
    """Tell whether the Redis that is set answers. Raises SettingsUnusable where it must and does not."""
    address = settings.redis_url.get_secret_value()
    redis = connect_redis(address, socket_connect_timeout=1, socket_timeout=1)
    try:
        return bool(redis.ping())
    except RedisError:
        if settings.redis_url == _DEFAULT_REDIS:
            return False
        raise SettingsUnusable("does not answer", where="REDIS_URL", mend="start it, or unset REDIS_URL") from None


def _announce(settings: Settings, processes: Processes) -> None:
    click.echo(f"webhooks  http://127.0.0.1:{settings.port}/webhooks")
    click.echo(f"console   http://127.0.0.1:{settings.port}/console")
    click.echo(f"logs      {processes.log_dir}")
    click.echo("Ctrl-C stops everything.")


def _watch(processes: Processes) -> None:
    while (ended := processes.first_ended()) is None:
        time.sleep(0.5)
    name, code = ended
    raise click.ClickException(f"{name} ended with exit code {code}: see {processes.log_dir / name}.log")
