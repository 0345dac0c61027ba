"""A Redis that can be killed, emptied, put back to an older state and frozen."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from bench.faults.processes import Supervisor
from workers.cli.processes import redis_server

NAME: Final = "redis"
PORT: Final = 6379
START_SECONDS: Final = 10.0


class RedisServer:
    """Redis on a unix socket, or on the port of a host, kept by a supervisor.

    It writes its data down only when it is told to. `inside` is what the command begins with that starts it there.
    """

    def __init__(self, supervisor: Supervisor, host: str | None = None, inside: Sequence[str] = ()) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mm-faults-redis-"))
        self._supervisor = supervisor
        socket = f"{self._folder}/redis.sock"
        self.url = f"redis://{host}:{PORT}/0" if host else f"unix://{socket}?db=0"
        open_at = ("--bind", host, "--protected-mode", "no") if host else ("--port", "0", "--unixsocket", socket)
        options = (*open_at, "--save", "", "--appendonly", "no")
        program = redis_server()
        assert program is not None, "no Redis server on this machine"
        supervisor.start(NAME, [*inside, program, *options, "--dir", str(self._folder)], {})
        self.wait()

    def restart_empty(self) -> None:
        """Kill it; it comes back with nothing, as without persistence in life."""
        self._dump.unlink(missing_ok=True)
        self._supervisor.kill(NAME)
        self.wait()

    def remember(self) -> None:
        """Take a snapshot to come back to."""
        self._client().save()
        shutil.copy(self._dump, self._kept)
        self._dump.unlink()

    def restart_with_old_data(self) -> None:
        """Kill it; it comes back as it was when it was told to remember."""
        self._supervisor.down(NAME)
        shutil.copy(self._kept, self._dump)
        self._supervisor.up(NAME)
        self.wait()
        self._dump.unlink()

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._client().ping()
            except RedisError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def close(self) -> None:
        """Remove what it left on the disk."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _dump(self) -> Path:
        return self._folder / "dump.rdb"

    @property
    def _kept(self) -> Path:
        return self._folder / "remembered.rdb"

    def _client(self) -> "Redis":
        return Redis.from_url(self.url, socket_timeout=10)
