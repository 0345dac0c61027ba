"""The web process as it is deployed: gunicorn, its settings file, several workers. Posts are raw sockets' bytes."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import requests

from tests.conftest import FrozenClock
from tests.integration.webhooks.conftest import SECRETS, an_event, signed
from tests.servers import RedisServer, free_ports
from workers.kernel.clock import utc_now
from workers.kernel.ledger import connect

ROOT = Path(__file__).parents[3]


def environment(**settings: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT)} | settings


pytestmark = pytest.mark.xdist_group("gunicorn")

CONF = "python:webhooks.gunicorn_conf"
IMPATIENT = """
from webhooks.gunicorn_conf import *

keepalive = 2


def post_worker_init(worker):
    from webhooks import worker as ours

    ours.REQUEST_SECONDS = ours.ANSWER_SECONDS = 2
"""
"""gunicorn's settings, with bounds that a test can wait for."""


def gunicorn(folder: Path, settings: dict[str, str], *, impatient: bool = False) -> subprocess.Popen[str]:
    (folder / "impatient.py").write_text(IMPATIENT)
    conf = str(folder / "impatient.py") if impatient else CONF
    command = [sys.executable, "-m", "gunicorn", "-c", conf]
    settings = {"TMPDIR": str(folder)} | settings
    with (folder / "web.log").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, env=settings, stderr=log, text=True)


@dataclass
class Web:
    """A running web process."""

    process: subprocess.Popen[str]
    port: int
    database_url: str
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                requests.get(f"{self.url}/healthz", timeout=5)
                return
            except (requests.ConnectionError, requests.Timeout):
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.05)
        pytest.fail("gunicorn did not start")

    def talk(self, *pieces: bytes) -> bytes:
        """Send pieces until one is no longer taken, and return the JSON answer with its head."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            answer = b""
            try:
                for piece in pieces:
                    connection.sendall(piece)
            except OSError:
                pass
            try:
                while not answer.endswith(b"}\n") and (part := connection.recv(65536)):
                    answer += part
            except OSError:
                pass
            return answer


@contextmanager
def running(
    folder: Path,
    migrated: Path,
    redis_url: str,
    *,
    impatient: bool = False,
    database_url: str = "",
    workers: int = 2,
    **more: str,
) -> Iterator[Web]:
    database = folder / "ledger.db"
    database.write_bytes(migrated.read_bytes())
    url = database_url or f"sqlite:///{database}"
    [port] = free_ports(1)
    settings = environment(
        STRIPE_WEBHOOK_SECRETS=",".join(SECRETS),
        STRIPE_API_KEY="sk_test_made_up",
        DATABASE_URL=url,
        REDIS_URL=redis_url,
        PORT=str(port),
        WEBHOOK_MAX_BODY="65536",
        WEB_CONCURRENCY=str(workers),
        **more,
    )
    process = gunicorn(folder, settings, impatient=impatient)
    web = Web(process, port, url, folder / "web.log")
    try:
        web.wait()
        yield web
    finally:
        web.process.terminate()
        web.process.wait(timeout=60)


@pytest.fixture(scope="module")
def web(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path, redis_server: RedisServer
) -> Iterator[Web]:
    with running(tmp_path_factory.mktemp("web"), migrated_sqlite, redis_server.url) as web:
        yield web


def now() -> FrozenClock:
    clock = FrozenClock()
    clock.now = utc_now()
    return clock


def chunked(body: bytes, size: int = 1000) -> bytes:
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_posts_of_declared_and_undeclared_length_are_taken(web: Web) -> None:
    body = an_event()
    assert requests.post(f"{web.url}/webhooks", data=body, headers=signed(body, now()), timeout=30).json() == {
        "received": True
    }
    second = an_event(id="evt_2", note="x" * 5000)
    header = signed(second, now())["Stripe-Signature"]
    answer = web.talk(
        f"POST /webhooks/thin HTTP/1.1\r\nHost: x\r\nStripe-Signature: {header}\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode(),
        chunked(second),
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    ledger = connect(web.database_url)
    stored = ledger.events.get("evt_2")
    assert stored is not None
    assert stored.raw == second
    ledger.close()


@pytest.mark.parametrize("pieces", [5, 300])
def test_a_body_of_undeclared_length_is_cut_off_at_the_cap(web: Web, pieces: int) -> None:
    head = b"POST /webhooks HTTP/1.1\r\nHost: x\r\nStripe-Signature: t=1,v1=0\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"%x\r\n%s\r\n" % (16384, b"x" * 16384)
    answer = web.talk(head, *[piece] * pieces)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'{"error":"body_too_large"}' in answer


def test_a_declared_length_over_the_cap_is_refused_before_the_body_is_sent(web: Web) -> None:
    answer = web.talk(b"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("framed", ["Content-Length: 5000", "Transfer-Encoding: chunked"])
def test_a_body_that_is_cut_off_is_refused_and_stores_nothing(web: Web, framed: str) -> None:
    body = an_event(id="evt_cut")
    header = signed(body, now())["Stripe-Signature"]
    chunk = b"1388\r\n" if "chunked" in framed else b""
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
        connection.sendall(
            f"POST /webhooks HTTP/1.1\r\nHost: x\r\nStripe-Signature: {header}\r\n{framed}\r\n\r\n".encode()
            + chunk
            + body
        )
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    ledger = connect(web.database_url)
    assert ledger.events.get("evt_cut") is None
    ledger.close()
    assert "Traceback" not in web.log.read_text()


@pytest.mark.parametrize(
    "body",
    [
        b"ZZ\r\n",
        b"-1\r\n",
        b"\r\n\r\n",
        b"1;=\r\nx\r\n0\r\n\r\n",
        b"1\r\nxy\r\n",
        b"0\r\nno field\r\n\r\n",
        b"0\r\n bent: x\r\n\r\n",
        b"0\r\nX: \xff\0\r\n\r\n",
        b"0\r\nX: y\n\r\n\r\n",
        b"1" * 10_000,
    ],
)
@pytest.mark.parametrize("path", ["/webhooks", "/console/login"])
def test_a_body_that_is_framed_wrongly_is_the_senders_fault(web: Web, path: str, body: bytes) -> None:
    form = "Content-Type: application/x-www-form-urlencoded"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{form}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
        connection.sendall(head + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))  # and the connection ends
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert "Traceback" not in web.log.read_text()


def test_clients_that_stay_silent_within_a_request_do_not_hold_the_web_for_long(web: Web) -> None:
    heads = [b"POST /webhooks HTTP/1.1\r\n", b"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"]
    silent = []
    try:
        for number in range(18):
            silent.append(socket.create_connection(("127.0.0.1", web.port)))
            silent[-1].sendall(heads[number % 2])
            time.sleep(0.02)  # so that both processes take some
        with ThreadPoolExecutor(8) as pool:
            asked = pool.map(lambda _: requests.get(f"{web.url}/healthz", timeout=40).status_code, range(16))
        assert set(asked) == {200}
    finally:
        for connection in silent:
            connection.close()


def test_counters_of_all_worker_processes_add_up(web: Web) -> None:
    headers = {"Stripe-Signature": "malformed"}
    for _ in range(20):
        requests.post(f"{web.url}/webhooks", data=b"{}", headers=headers, timeout=30)
    for _ in range(4):
        shown = requests.get(f"{web.url}/metrics", timeout=30).text
        assert 'metermend_webhooks_total{answer="malformed_signature"} 20.0' in shown.splitlines()
        assert "metermend_oldest_unprocessed_seconds" in shown


def test_the_printed_password_opens_the_console_in_every_worker(web: Web) -> None:
    found = re.search(r"password: (\S+)", web.log.read_text())
    assert found
    for _ in range(6):  # a new connection each, so that both processes are met
        visit = requests.Session()
        page = visit.get(f"{web.url}/console/login", timeout=30).text
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert token
        form = {"csrf_token": token[1], "password": found[1]}
        assert "Refused usage" in visit.post(f"{web.url}/console/login", data=form, timeout=30).text
        visit.close()


def test_a_stop_lets_posts_in_work_finish_and_waits_for_nothing_else(
    tmp_path: Path, migrated_sqlite: Path, redis_url: str
) -> None:
    body = an_event()
    header = signed(body, now())["Stripe-Signature"]
    with (
        running(tmp_path, migrated_sqlite, redis_url) as web,
        socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection,
        socket.create_connection(("127.0.0.1", web.port)),
        requests.Session() as idle,
    ):
        idle.get(f"{web.url}/healthz", timeout=20)
        connection.sendall(
            f"POST /webhooks HTTP/1.1\r\nHost: x\r\nStripe-Signature: {header}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body[:10]
        )
        time.sleep(0.3)
        web.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.sendall(body[10:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        web.process.wait(timeout=20)  # less than the 30 s that requests may take: idle connections are none
    with redis.Redis.from_url(redis_url) as client:
        assert client.lrange("rq:queue:events", 0, -1) == [b"evt_1-0"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "STRIPE_WEBHOOK_SECRETS"),
        ({"STRIPE_WEBHOOK_SECRETS": "whsec_made_up", "PORT": "many"}, "PORT"),
        ({"STRIPE_WEBHOOK_SECRETS": "whsec_made_up", "CONSOLE_PASSWORD_HASH": "hunter2"}, "CONSOLE_PASSWORD_HASH"),
    ],
)
def test_settings_that_cannot_work_end_the_start_with_one_line(
    tmp_path: Path, settings: dict[str, str], named: str
) -> None:
    process = gunicorn(tmp_path, environment(**settings))
    process.wait(timeout=90)
    told = (tmp_path / "web.log").read_text()
    assert process.returncode == 2
    assert len(told.splitlines()) == 1
    assert told.startswith(f"{named}: ")


def test_neither_web_nor_its_settings_touch_polars(tmp_path: Path) -> None:
    code = "import sys, json, webhooks.wsgi; print(json.dumps('polars' in sys.modules))"
    env = environment(STRIPE_WEBHOOK_SECRETS="whsec_made_up")
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, check=True)
    assert json.loads(told.stdout) is False
