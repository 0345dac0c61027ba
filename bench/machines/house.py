"""The service on seven hosts: two of the web, three of workers, one of what they share, one of Stripe."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import requests

from bench.faults.house import House, Plan
from bench.faults.redis_server import RedisServer
from bench.machines.network import Network
from bench.machines.postgres_server import PostgresServer

ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "web-1": ("web", "clock"),
    "web-2": ("web", "clock"),
    "work-1": ("worker",),
    "work-2": ("worker",),
    "work-3": ("worker",),
}
"""Host -> what of the service runs there."""
WORK: Final = tuple(host for host in ROLES if "worker" in ROLES[host])
DATA, STRIPE, JUDGE = "data", "stripe", "judge"
HOSTS: Final = (*ROLES, DATA, STRIPE, JUDGE)
WEB_PORT, TWIN_PORT, S3_PORT = 4242, 12111, 5000
BUCKETS: Final = ("archive", "sources", "bucket")
PLACES: Final = {
    "ARCHIVE_URL": "s3://archive/ledger",
    "USAGE_SOURCES": "s3://sources",
    "SUBMIT_TO": "s3://bucket",
}
TRY_SECONDS: Final = 3.0
"""How long the sender waits for S3 before he tries again."""


def s3_access(network: Network) -> dict[str, str]:
    """Return what the environment of each process has to say of S3, the driver's, too."""
    made_up = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "made-up")
    return made_up | {"AWS_ENDPOINT_URL": f"http://{network.address(DATA)}:{S3_PORT}", "AWS_REGION": "us-east-1"}


class Machines(House):
    """A house on the hosts of a network, whose driver stands on the host `judge`.

    Archive, usage and the connector's folder are buckets of one S3. Stripe posts snapshot events to the one web and
    thin events to the other, as each destination has one address.
    """

    def __init__(self, folder: Path, plan: Plan, network: Network) -> None:
        self.network = network
        self.s3 = s3_access(network)["AWS_ENDPOINT_URL"]
        super().__init__(folder, plan)

    def fell(self, host: str) -> None:
        """Let a host die: what runs there is killed, and nobody answers at its address."""
        self.network.unplug(host)
        for role in ROLES[host]:
            self.supervisor.down(f"{role}.{host}")

    def raise_again(self, host: str) -> None:
        """Let a host that died come back."""
        self.network.reconnect(host)
        for role in ROLES[host]:
            self.supervisor.up(f"{role}.{host}")

    def upload(self, name: str, text: str) -> None:
        """Upload a usage file as its sender does, and as often as it takes, but no file twice."""
        for bucket in ("sources", "bucket"):
            while not self._put(f"{self.s3}/{bucket}/{name}", text):
                time.sleep(0.2)

    def uploaded(self) -> int:
        """Return how many files lie in the connector's bucket, the sender's and ours."""
        listed = self.http.get(f"{self.s3}/bucket?list-type=2", timeout=TRY_SECONDS)
        listed.raise_for_status()
        return listed.text.count(".csv</Key>")

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **s3_access(self.network), **PLACES, **self.plan.settings}

    def _addresses(self) -> tuple[str, str]:
        return self._web("web-1"), f"http://{self.network.address(STRIPE)}:{TWIN_PORT}"

    def _open_database(self) -> PostgresServer:
        return PostgresServer(self.supervisor, self.network.address(DATA), self.network.inside(DATA))

    def _open_redis(self) -> RedisServer:
        return RedisServer(self.supervisor, self.network.address(DATA), self.network.inside(DATA))

    def _open(self) -> None:
        self._run(DATA, "s3", "moto.server", "-H", self.network.address(DATA), "-p", str(S3_PORT))
        self.until(lambda: self._answers(self.s3), 60, "S3 to answer")
        for bucket in BUCKETS:
            self.http.put(f"{self.s3}/{bucket}", timeout=TRY_SECONDS).raise_for_status()
        self._run(STRIPE, "twin", *self._twin_command())
        for host, roles in ROLES.items():
            for role in roles:
                bind = ["-b", f"{self.network.address(host)}:{WEB_PORT}"] if role == "web" else []
                self._run(host, f"{role}.{host}", "bench.faults.launch", role, *bind)

    def _run(self, host: str, name: str, module: str, *arguments: str) -> None:
        command = [*self.network.inside(host), sys.executable, "-m", module, *arguments]
        own = {"SCRATCH_DIR": str(self.folder / host / "scratch")}
        self.supervisor.start(name, command, self.environment | own)

    def _twin_command(self) -> list[str]:
        command = super()._twin_command()
        command[command.index("--bucket") + 1] = "s3://bucket"
        command[command.index("--port") + 1] = str(TWIN_PORT)
        thin = f"--destination=thin={self._web('web-1')}"
        elsewhere = thin.replace(self._web("web-1"), self._web("web-2"))
        command = [part.replace(thin, elsewhere) for part in command]
        return [*command, "--host", self.network.address(STRIPE), "--s3-endpoint", self.s3]

    def _web(self, host: str) -> str:
        return f"http://{self.network.address(host)}:{WEB_PORT}"

    def _put(self, address: str, text: str) -> bool:
        """Put a file where it does not lie yet; its answer may have been lost."""
        try:
            there = self.http.head(address, timeout=TRY_SECONDS).ok
            return there or self.http.put(address, data=text.encode(), timeout=TRY_SECONDS).ok
        except requests.RequestException:
            return False
