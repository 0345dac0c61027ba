"""If these fail, a worker whose ledger's machine vanished waits two hours for its answer, and does nothing else."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.faults.processes import Supervisor
from bench.machines.network import Network, obstacle
from bench.machines.postgres_server import NAME, PostgresServer
from workers.kernel.errors import LedgerUnavailable
from workers.kernel.ledger import database
from workers.kernel.ledger.database import Database

pytestmark = pytest.mark.postgres
SOON = {"tcp_user_timeout": 2000, "keepalives_idle": 1, "keepalives_interval": 1}
"""The product's own are as many times as long as a test may take."""
LEDGER, WORKER = "ledger", "worker"


@pytest.fixture
def network() -> Iterator[Network]:
    """A host of the ledger and one of a worker."""
    if hindered := obstacle():
        pytest.skip(hindered)
    with Network([LEDGER, WORKER]) as network:
        yield network


def ask(ledger: Database, seconds: int) -> None:
    """Ask something that takes so long."""
    with ledger.read() as connection:
        connection.exec_driver_sql(f"SELECT pg_sleep({seconds})")


def test_who_waits_for_a_host_that_vanishes_gives_up_and_finds_it_when_it_is_back(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SOON.items():
        assert name in database._TO_POSTGRES
        monkeypatch.setitem(database._TO_POSTGRES, name, value)
    supervisor = Supervisor(tmp_path / "logs")
    with network.standing_on(WORKER):
        server = PostgresServer(supervisor, network.address(LEDGER), network.inside(LEDGER))
        ledger = Database(server.url)
        vanishes = threading.Timer(0.5, network.silence, [LEDGER])
        try:
            ask(ledger, 0)
            vanishes.start()
            begun = time.monotonic()
            with pytest.raises(LedgerUnavailable):
                ask(ledger, 60)
            assert time.monotonic() - begun < 10
            network.reconnect(LEDGER)
            ask(ledger, 0)
        finally:
            vanishes.join()
            ledger.close()
            supervisor.down(NAME)  # asked to stop, it would wait for the question that nobody waits for any more
            supervisor.close()
            server.close()
