"""If these fail, a handful of idle machines anywhere can keep Stripe's events out and the health check red."""

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import requests

from tests.integration.webhooks.conftest import an_event, signed
from tests.integration.webhooks.test_console import token_of
from tests.integration.webhooks.test_gunicorn import Web, chunked, now, running
from tests.servers import RedisServer

pytestmark = pytest.mark.xdist_group("slow clients")

BODY = b"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{"
HEAD = b"POST /webhooks HTTP/1.1\r\nX-Slow: "
CHUNKS = b"POST /webhooks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\n7000\r\n"


@pytest.fixture(scope="module")
def web(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path, redis_server: RedisServer
) -> Iterator[Web]:
    with running(tmp_path_factory.mktemp("web"), migrated_sqlite, redis_server.url, impatient=True) as web:
        yield web
        assert "Traceback" not in web.log.read_text()


def slowest_of(web: Web, asked: int = 6) -> float:
    """Return how many seconds the slowest of some health checks took."""

    def seconds(_: int) -> float:
        started = time.monotonic()
        assert requests.get(f"{web.url}/healthz", timeout=30).status_code == 200
        return time.monotonic() - started

    return max(map(seconds, range(asked)))


@contextmanager
def meanwhile(act: Callable[[], object], pause: float = 0.0) -> Iterator[None]:
    """Go on doing something in a thread."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.wait(pause):
            act()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def answer_of(client: socket.socket) -> bytes:
    """Return what comes until the connection ends."""
    answer = b""
    try:
        while part := client.recv(65536):
            answer += part
    except ConnectionError:
        pass
    return answer


def hang_up(client: socket.socket) -> None:
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


def send(connections: list[socket.socket], data: bytes) -> None:
    for connection in connections:
        try:
            connection.sendall(data)
        except OSError:
            continue


def test_clients_that_send_a_byte_now_and_then_hold_nothing_up(web: Web) -> None:
    """40 of each kind. They come to an end in bounded time, and that holds nothing up either."""
    with ExitStack() as stack:
        dripping = []
        for opening in (BODY, HEAD, CHUNKS):
            kind = [stack.enter_context(socket.create_connection(("127.0.0.1", web.port))) for _ in range(40)]
            send(kind, opening)
            dripping += kind
        with meanwhile(lambda: send(dripping, b" "), pause=0.2):
            assert slowest_of(web) < 4
            body = an_event(id="evt_slow")
            header = signed(body, now())
            assert requests.post(f"{web.url}/webhooks", data=body, headers=header, timeout=4).status_code == 200
            for number, client in enumerate(dripping):
                client.settimeout(30)
                assert answer_of(client)[:12] == (b"" if 40 <= number < 80 else b"HTTP/1.1 408")
            assert slowest_of(web) < 4


def test_clients_that_never_pause_let_others_in_between(web: Web) -> None:
    """gevent changes greenlets only where one has to wait."""
    head = b"POST /webhooks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    padded = head + b"1;a=%s\r\nx\r\n" % (b"x" * 8000) * 5000  # 40 MB for a body of 5 KB
    asked = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000
    with ExitStack() as stack:
        for data in (padded, padded, asked, asked):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", web.port)))
            stack.enter_context(meanwhile(partial(answer_of, client), pause=0.1))
            stack.enter_context(meanwhile(partial(send, [client], data), pause=0.01))
            stack.callback(hang_up, client)
        assert slowest_of(web) < 4


def test_clients_that_never_read_their_answers_are_hung_up_on(web: Web) -> None:
    asked = b"GET /console/static/console.css HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
    with ExitStack() as stack:
        deaf = []
        for _ in range(10):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(30)
            client.connect(("127.0.0.1", web.port))
            deaf.append(client)
        send(deaf, asked)
        assert slowest_of(web) < 4
        for client in deaf:
            hung_up = select.poll()
            hung_up.register(client, 0)
            assert hung_up.poll(60_000)
        assert slowest_of(web) < 4


def test_clients_that_do_not_close_after_their_answer_hold_nothing_up(web: Web) -> None:
    with ExitStack() as stack:
        for _ in range(30):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", web.port), timeout=4))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        time.sleep(0.5)  # so that the closing has begun
        assert slowest_of(web) < 4


def test_a_request_may_come_in_small_pieces_or_several_at_once(web: Web) -> None:
    body = an_event(id="evt_pieces")
    header = signed(body, now())["Stripe-Signature"]
    fields = f"POST /webhooks HTTP/1.1\r\nHost: x\r\nStripe-Signature: {header}\r\n".encode()
    asked = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    post = fields + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, 7)
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
        connection.sendall(asked + asked + post[:30])
        for start in range(30, len(post), 300):
            time.sleep(0.01)
            connection.sendall(post[start : start + 300])
        connection.sendall(last)
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answers.count(b"HTTP/1.1 200 ") == 4
    assert answers.count(b'{"received":true}') == 1


def test_a_client_that_waits_for_a_continue_gets_it(web: Web) -> None:
    body = an_event(id="evt_continue")
    header = signed(body, now())["Stripe-Signature"]
    with socket.create_connection(("127.0.0.1", web.port), timeout=5) as connection:
        connection.sendall(
            f"POST /webhooks HTTP/1.1\r\nHost: x\r\nStripe-Signature: {header}\r\nExpect: 100-continue\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert b"HTTP/1.1 200 " in b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_head_without_an_end_is_refused(web: Web) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
        send([connection], HEAD + b"x" * 1_000_000)
        assert connection.recv(4096).startswith(b"HTTP/1.1 431 ")


def test_many_wrong_logins_at_once_leave_the_web_to_the_others(web: Web) -> None:
    """Each check costs a core on purpose; a queue of them held the web for seconds."""
    visit = requests.Session()
    address = f"{web.url}/console/login"
    form = {"csrf_token": token_of(visit.get(address, timeout=30).text), "password": "wrong"}
    told: set[int] = set()

    def try_one() -> None:
        answer = requests.post(address, data=form, cookies=visit.cookies.get_dict(), timeout=60)
        told.add(answer.status_code)
        assert answer.status_code == 401 or 1 <= int(answer.headers["Retry-After"]) <= 61

    with ThreadPoolExecutor(40) as pool, ExitStack() as stack:
        started = threading.Event()

        def flood() -> None:
            list(pool.map(lambda _: try_one(), range(40)))
            started.set()

        stack.enter_context(meanwhile(flood))
        assert started.wait(60)
        assert slowest_of(web) < 4
    assert told == {401, 429}
