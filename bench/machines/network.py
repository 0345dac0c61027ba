"""Hosts as network namespaces on one switch, which is a namespace, too: nothing outside sees their addresses."""

import ctypes
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SWITCH: Final = "switch"
BRIDGE: Final = "bridge0"
TOOLS: Final = ("ip", "bridge", "setpriv")
DROPS, FORWARDS = "0", "3"
"""States of a port of Linux' bridge."""
_CLONE_NEWNET: Final = 0x40000000


class Network:
    """Hosts that reach each other until one is unplugged or silenced; used as a context."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = tuple(hosts)
        self._prefix = f"mm{os.getpid()}"

    def __enter__(self) -> Self:
        try:
            self._make(SWITCH)
            _ip("-n", self._name(SWITCH), "link", "add", BRIDGE, "type", "bridge")
            _ip("-n", self._name(SWITCH), "link", "set", BRIDGE, "up")
            for host in self._hosts:
                self._make(host)
                self._plug_in(host)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def address(self, host: str) -> str:
        """Return a host's address."""
        return f"10.77.0.{self._hosts.index(host) + 1}"

    def inside(self, host: str) -> list[str]:
        """Return what a command begins with that is to run on a host."""
        return [_program("ip"), "netns", "exec", self._name(host)]

    @contextmanager
    def standing_on(self, host: str) -> Iterator[None]:
        """Let this thread, and those and the processes that it starts, be on a host."""
        with Path("/proc/thread-self/ns/net").open() as home, Path("/run/netns", self._name(host)).open() as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def unplug(self, host: str) -> None:
        """Take a host's link down."""
        _ip("-n", self._name(SWITCH), "link", "set", "dev", host, "down")

    def silence(self, host: str) -> None:
        """Let every packet to and from a host vanish: connections hang, where an unplugged host's soon fail."""
        self._port(host, DROPS)

    def reconnect(self, host: str) -> None:
        """Let a host be reached again."""
        _ip("-n", self._name(SWITCH), "link", "set", "dev", host, "up")
        self._port(host, FORWARDS)

    def cpu_seconds(self, host: str) -> Counter[str]:
        """Return the processor time of what runs on a host: program -> seconds."""
        seconds: Counter[str] = Counter()
        for process in self._processes(host):
            program, _, rest = Path(f"/proc/{process}/stat").read_text().partition("(")[2].rpartition(") ")
            user, system = map(int, rest.split()[11:13])
            seconds[program] += (user + system) / os.sysconf("SC_CLK_TCK")  # type: ignore[assignment]
        return seconds

    def _processes(self, host: str) -> list[int]:
        return [int(process) for process in _run(_program("ip"), "netns", "pids", self._name(host)).split()]

    def _name(self, host: str) -> str:
        return f"{self._prefix}-{host}"

    def _make(self, host: str) -> None:
        _ip("netns", "add", self._name(host))
        _ip("-n", self._name(host), "link", "set", "lo", "up")

    def _plug_in(self, host: str) -> None:
        switch, there = self._name(SWITCH), self._name(host)
        _ip("-n", switch, "link", "add", "name", host, "type", "veth", "peer", "name", "eth0", "netns", there)
        _ip("-n", switch, "link", "set", "dev", host, "master", BRIDGE, "up")
        _ip("-n", there, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
        _ip("-n", there, "link", "set", "eth0", "up")

    def _port(self, host: str, state: str) -> None:
        _run(*self.inside(SWITCH), _program("bridge"), "link", "set", "dev", host, "state", state)

    def _remove(self) -> None:
        """Remove the hosts, and end what still runs on them."""
        for host in (*self._hosts, SWITCH):
            with suppress(subprocess.CalledProcessError):  # it was not made
                for process in self._processes(host):
                    with suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
            subprocess.run([_program("ip"), "netns", "del", self._name(host)], capture_output=True, check=False)


def obstacle() -> str | None:
    """Return why hosts cannot be made here, or None where they can."""
    missing = [tool for tool in TOOLS if shutil.which(tool, path=_PATH) is None]
    if missing:
        return f"{', '.join(missing)} is not here: install iproute2 and util-linux"
    try:
        with Network(["probe"]):
            return None
    except (PermissionError, subprocess.CalledProcessError) as error:
        said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
        return f"network namespaces may not be made here, which takes root: {said}"


_PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _program(name: str) -> str:
    return shutil.which(name, path=_PATH) or name


def _ip(*arguments: str) -> None:
    _run(_program("ip"), *arguments)


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _enter(namespace: int) -> None:
    """Do what `os.setns` does from Python 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot stand on another host")
