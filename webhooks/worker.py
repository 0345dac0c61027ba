"""gunicorn's threaded worker, except that a request gets a thread only once all of it is there.

gunicorn reads a request in the thread that answers it: a few clients that send a byte now and then hold every
thread, and each connection it closes may hold its event loop for two seconds. Here the event loop, which can wait
for hundreds at once, takes in the bytes; a request that is not whole within `REQUEST_SECONDS` is answered 408.
"""

import errno
import time
from collections import deque
from concurrent.futures import Future
from functools import partial
from selectors import EVENT_READ
from socket import SHUT_WR, socket
from typing import Any, Final

from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

from webhooks.arrival import Arrival, HeadTooLong
from workers.kernel import settings

REQUEST_SECONDS: Final = 15
"""From a request's first byte to its last."""
LINGER_SECONDS: Final = 2
"""How long a closed client may go on sending, so that it reads its answer before the connection is reset."""
STEP: Final = 64 * 1024

_GONE = (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK)


class Connection(TConn):  # type: ignore[misc]
    """A connection and what has come of its next request; `timeout` is when waiting for it ends."""

    def __init__(self, worker: "Worker", sock: socket, client: Any, server: Any) -> None:
        super().__init__(worker.cfg, sock, client, server)
        self.worker = worker
        self.await_request()

    def await_request(self) -> None:
        """Forget the last request; as long as nothing comes the connection is idle, not slow."""
        self.arrival = Arrival(self.worker.longest_body)
        self.timeout = time.monotonic() + self.cfg.keepalive

    def receive(self) -> bool:
        """Take what has come, without waiting, and return whether the request is whole.

        Raises OSError when the client is gone and HeadTooLong.
        """
        self.sock.setblocking(False)
        idle = not self.arrival.received
        ahead = self.parser.unreader.take_buffered() if self.parser else b""
        whole = bool(ahead) and self.arrival.take(ahead)
        whole = whole or self._receive_more()
        if idle and self.arrival.received:
            self.timeout = time.monotonic() + REQUEST_SECONDS
        return whole

    def _receive_more(self) -> bool:
        try:
            piece = self.sock.recv(STEP)
        except BlockingIOError:
            return False
        if not piece:
            raise ConnectionAbortedError
        whole = self.arrival.take(piece)
        if self.arrival.waits_for_continue and not whole:
            self.arrival.waits_for_continue = False
            self.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return whole

    def hand_over(self) -> None:
        """Give the parser the request, as if it were read from the socket just now."""
        self.init()
        self.parser.unreader.unread(bytes(self.arrival.received))
        self.await_request()

    def close(self, graceful: bool = False) -> None:
        """Close at once, or after the client had time to read its answer."""
        if graceful:
            self.worker.linger(self)
        else:
            super().close()


class Worker(ThreadWorker):  # type: ignore[misc]
    """The worker class that `gunicorn.conf.py` names. All of this runs in its event loop, `handle` in threads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.longest_body = settings.load().webhook_max_body
        self.lingering: deque[Connection] = deque()

    def accept(self, listener: socket) -> None:
        """Take a new connection."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return
        self.nr_conns += 1
        self.enqueue_req(Connection(self, client, address, listener.getsockname()))

    def enqueue_req(self, conn: Connection) -> None:
        """Give the connection's request a thread if it is whole; else wait for more of it."""
        try:
            whole = conn.receive()
            if whole:
                conn.hand_over()
        except HeadTooLong:
            self._refuse(conn, "431 Request Header Fields Too Large", "request_too_long")
        except OSError:
            self._drop(conn)
        else:
            if whole:
                super().enqueue_req(conn)
            else:
                self._watch(conn, self.pending_conns, self.on_pending_socket_readable)

    def finish_request(self, conn: Connection, fs: "Future[Any]") -> None:
        """Wait for the next request, which begins now."""
        conn.await_request()
        super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """End the wait for requests that took too long, and for what is closed."""
        for conn in [each for each in self.pending_conns if self._is_over(each)]:
            self._unwatch(conn, self.pending_conns)
            if conn.arrival.received:
                self._refuse(conn, "408 Request Timeout", "request_timeout")
            else:
                self._drop(conn)
        for conn in [each for each in self.lingering if each.timeout < time.monotonic()]:
            self._unwatch(conn, self.lingering)
            self._drop(conn)

    def linger(self, conn: Connection) -> None:
        """Close our side, and let the client go on for a moment: it may not have read our answer yet."""
        self.nr_conns += 1
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(SHUT_WR)
        except OSError:
            self._drop(conn)
            return
        conn.timeout = time.monotonic() + LINGER_SECONDS
        self._watch(conn, self.lingering, self._discard)

    def _discard(self, conn: Connection, client: socket) -> None:
        try:
            gone = not client.recv(STEP)
        except BlockingIOError:
            gone = False
        except OSError:
            gone = True
        if gone:
            self._unwatch(conn, self.lingering)
            self._drop(conn)

    def _is_over(self, conn: Connection) -> bool:
        """Tell whether a wait has lasted long enough; one that has brought nothing yet ends with the worker."""
        return conn.timeout < time.monotonic() or not (self.alive or conn.arrival.received)

    def _refuse(self, conn: Connection, status: str, slug: str) -> None:
        self.log.warning("%s from %s", slug, conn.client)
        body = f'{{"error":"{slug}"}}\n'
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        try:
            conn.sock.send(f"{head}Connection: close\r\n\r\n{body}".encode())
        except OSError:
            self._drop(conn)
            return
        self.nr_conns -= 1
        conn.close(graceful=True)

    def _drop(self, conn: Connection) -> None:
        self.nr_conns -= 1
        conn.close()

    def _watch(self, conn: Connection, waiting: "deque[Connection]", on_readable: Any) -> None:
        waiting.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(on_readable, conn))

    def _unwatch(self, conn: Connection, waiting: "deque[Connection]") -> None:
        waiting.remove(conn)
        self.poller.unregister(conn.sock)
