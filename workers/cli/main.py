"""The entry point: finds the command, and turns errors and signals into one line and an exit code."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from types import FrameType
from typing import Any, Final

import click

from workers.kernel.errors import LedgerUnavailable, MetermendError
from workers.kernel.terminal import shown, visible

COMMANDS: Final[Mapping[str, str]] = {
    "acts": "workers.cli.decide:acts",
    "alert": "workers.cli.alert:alert",
    "approve": "workers.cli.decide:approve",
    "audit": "workers.cli.audit:audit",
    "backup": "workers.cli.backup:backup",
    "case": "workers.cli.case:case",
    "cases": "workers.cli.cases:cases",
    "check": "workers.cli.check:check",
    "clock": "workers.cli.worker:clock",
    "corrected": "workers.cli.decide:corrected",
    "db": "workers.cli.db:db",
    "demo": "workers.cli.demo.command:demo",
    "doctor": "workers.cli.doctor:doctor",
    "events": "workers.cli.events:events",
    "export": "workers.cli.cases:export",
    "fix": "workers.cli.fix:fix",
    "forget": "workers.cli.forget:forget",
    "incidents": "workers.cli.incidents:incidents",
    "map": "workers.cli.map:map_",
    "parts": "workers.cli.parts:parts",
    "prove": "workers.cli.prove:prove",
    "quarantine": "workers.cli.quarantine:quarantine",
    "reconcile": "workers.cli.reconcile:reconcile",
    "release": "workers.cli.retry:release",
    "repair": "workers.cli.repair:repair",
    "replay": "workers.cli.replay:replay",
    "restore": "workers.cli.backup:restore",
    "restored": "workers.cli.reconcile:restored",
    "retry": "workers.cli.retry:retry",
    "rules": "workers.cli.rules:rules",
    "serve": "workers.cli.serve:serve",
    "set": "workers.cli.fix:set_cell",
    "take-back": "workers.cli.decide:take_back",
    "take-in": "workers.cli.take_in:take_in",
    "undo": "workers.cli.undo:undo",
    "user": "workers.cli.user:user",
    "withdraw": "workers.cli.decide:withdraw",
    "worker": "workers.cli.worker:worker",
    "write-off": "workers.cli.decide:write_off",
}
"""Command -> where it is. Imported late: a worker must not carry what only `check` needs."""


DEBUG: Final = "METERMEND_DEBUG"
"""The environment variable that lets an internal error through with its traceback."""
_LOGGED: Final = frozenset({"clock", "worker"})
"""Commands that nobody sits in front of: their traceback belongs into their log, it may not happen again."""
_CLICKS: Final = (click.ClickException, click.Abort, click.exceptions.Exit)
_READER_GONE: Final = 128 + signal.SIGPIPE
"""What a shell expects where `head` has read enough. It is not 1, by which `--strict` tells of findings."""


class _Unusable(click.ClickException):
    exit_code = 2


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        with redirect_stdout(shown(sys.stdout)), redirect_stderr(shown(sys.stderr)):
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MetermendError as error:
            raise _Unusable(visible(_with_advice(error))) from error
        except KeyboardInterrupt as interrupt:
            click.echo("stopped", err=True)
            raise click.exceptions.Exit(exit_code(interrupt)) from None
        except BrokenPipeError:
            raise click.exceptions.Exit(_READER_GONE) from None
        except _CLICKS:
            raise
        except Exception as error:
            if DEBUG in os.environ or ctx.invoked_subcommand in _LOGGED:
                raise
            raise _Unusable(visible(_in_one_line(error))) from error


def _with_advice(error: MetermendError) -> str:
    if isinstance(error, LedgerUnavailable) and " - " not in str(error):
        return f"{error} - start it, or see DATABASE_URL"
    return str(error)


def _in_one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:  # what the system refuses is no fault of ours
        return ": ".join(str(part) for part in (error.filename, error.strerror) if part)
    if isinstance(error, UnicodeEncodeError):  # by whom the shell was given bytes that are no text
        return f"{error.object}: it is no UTF-8 text"
    what = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
    return f"internal error: {what}; run with {DEBUG}=1 for the traceback"


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "color": True})
@click.version_option(package_name="metermend")
def main() -> None:
    """Find every usage record that Stripe refused, repair it without guessing, prove that it was billed once."""


SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """The signal that was sent."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__()


@contextmanager
def signals_answered(answer: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    """Answer signals within the block so; one that this process was started to ignore (nohup) stays ignored."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, answer)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop(number: int, _frame: FrameType | None) -> None:
    """Break off what runs, by Stopped."""
    raise Stopped(number)


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Return what a shell expects of a process that a signal ended."""
    return 128 + (interrupt.number if isinstance(interrupt, Stopped) else signal.SIGINT)
