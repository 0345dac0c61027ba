"""If these fail, a ledger behind a pooler refuses every event, or waits without end for what another one locked.

The pooler is pgbouncer with one session for all, which it gives away anew after each transaction, and with TLS.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from tests.integration.ledger.test_events import a_receipt
from tests.servers import PostgresServer, free_ports
from tests.tls import HERE, make_certificate
from workers.kernel.errors import LedgerUnavailable
from workers.kernel.ledger import Ledger, connect, schema

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="pgbouncer is not here"),
]
PATIENCE = 20.0
TIMES = 40
"""A driver that prepares statements does so with one that a connection has used five times; each has several."""


@pytest.fixture(scope="module")
def pooled_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a migrated ledger behind the pooler."""
    sockets = Path(str(sa.make_url(postgres_server.create("pooled")).query["host"]))
    with tempfile.TemporaryDirectory(prefix="mm-pooler-") as folder, _pooler(Path(folder), sockets) as url:
        ledger = connect(url)
        _migrate(ledger)
        ledger.close()
        yield url


@contextmanager
def _pooler(folder: Path, sockets: Path) -> Iterator[str]:
    certificate, key = make_certificate(folder)
    [port] = free_ports(1)
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\npooled = host={sockets} user=postgres\n[pgbouncer]\nlisten_addr = {HERE}\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n"
        "default_pool_size = 1\nclient_tls_sslmode = require\n"
        f"client_tls_cert_file = {certificate}\nclient_tls_key_file = {key}\n"
    )
    as_owner = ["-u", sockets.owner()] if os.geteuid() == 0 else []
    for place in (folder, *folder.iterdir()):  # what root starts becomes the server's user
        shutil.chown(place, sockets.owner())
    pooler = subprocess.Popen(["pgbouncer", "-q", *as_owner, str(settings)], stderr=subprocess.DEVNULL)
    try:
        yield f"postgresql://metermend@{HERE}:{port}/pooled?sslmode=verify-full&sslrootcert={certificate}"
    finally:
        pooler.kill()
        pooler.wait()


def _migrate(ledger: Ledger) -> None:
    """Migrate as soon as the pooler answers."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return schema.upgrade(ledger.database)
        except LedgerUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_processes_that_share_one_session_store_and_find_each_event(pooled_url: str) -> None:
    ledgers = [connect(pooled_url) for _ in range(3)]

    def store(number: int) -> bool:
        ledger = ledgers[number % len(ledgers)]
        return ledger.events.record(a_receipt(f"evt_{number}")) and ledger.events.get(f"evt_{number}") is not None

    with ThreadPoolExecutor(len(ledgers)) as pool:
        assert all(pool.map(store, range(len(ledgers) * TIMES)))
    for ledger in ledgers:
        ledger.close()


def test_each_transaction_is_bounded_and_leaves_nothing_behind(pooled_url: str) -> None:
    ledger = connect(pooled_url)
    bounds = sa.text("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
    for opened in (ledger.database.read, ledger.database.write):
        with opened() as connection:
            assert tuple(connection.execute(bounds).one()) == ("10s", "1min")
    with psycopg.connect(pooled_url) as somebody_else:
        assert somebody_else.execute(str(bounds)).fetchone() == ("0", "0")
    ledger.close()
