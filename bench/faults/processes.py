"""Processes under supervision: what ends is started again, as systemd or a container host would."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STOP_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.1


@dataclass
class _Kept:
    command: Sequence[str]
    env: Mapping[str, str]
    process: "subprocess.Popen[bytes]"
    wanted: bool = True
    starts: int = 1


class Supervisor:
    """Starts processes and keeps them running until `close`; each is the head of a group of its own."""

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        log_dir.mkdir(parents=True, exist_ok=True)
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._watcher.start()

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Start a process and restart it whenever it ends; its output goes to `log_dir/name.log`."""
        with self._lock:
            self._kept[name] = _Kept(command, env, self._spawn(name, command, env))

    def names(self, prefix: str) -> list[str]:
        """Return the names of the kept processes that start with `prefix`."""
        with self._lock:
            return sorted(name for name in self._kept if name.startswith(prefix))

    def pids(self, prefix: str) -> list[int]:
        """Return the process ids of the kept processes that start with `prefix`."""
        with self._lock:
            return [kept.process.pid for name, kept in self._kept.items() if name.startswith(prefix)]

    def kill(self, name: str) -> None:
        """Kill -9 a process and its children; the supervisor starts it again."""
        with self._lock:
            self._signal(name, signal.SIGKILL)
            self._kept[name].process.wait()

    def freeze(self, name: str) -> None:
        """Stop a process where it stands."""
        self._signal(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen process go on."""
        self._signal(name, signal.SIGCONT)

    def down(self, name: str) -> None:
        """Kill a process and leave it dead."""
        with self._lock:
            self._kept[name].wanted = False
            self.kill(name)

    def up(self, name: str, env: Mapping[str, str] | None = None) -> None:
        """Start a process that was taken down, in a new environment if one is given."""
        with self._lock:
            kept = self._kept[name]
            self.start(name, kept.command, kept.env if env is None else env)

    def restarts(self) -> int:
        """Return how often something had to be started again."""
        with self._lock:
            return sum(kept.starts - 1 for kept in self._kept.values())

    def close(self) -> None:
        """Stop everything, what was started last first; what does not listen is killed."""
        self._stopping.set()
        self._watcher.join()
        for name in reversed(self._kept):
            self._signal(name, signal.SIGCONT)
            self._signal(name, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for name, kept in reversed(self._kept.items()):
            try:
                kept.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._signal(name, signal.SIGKILL)
                kept.process.wait()

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            with self._lock:
                for name, kept in self._kept.items():
                    if kept.wanted and kept.process.poll() is not None:
                        kept.process = self._spawn(name, kept.command, kept.env)
                        kept.starts += 1

    def _spawn(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        with (self._log_dir / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, env=dict(env), stdout=log, stderr=log, start_new_session=True)

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self._kept[name].process
        if process.poll() is None:
            os.killpg(process.pid, number)
