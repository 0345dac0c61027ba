"""gunicorn's gevent worker: a greenlet for each connection, so that a slow client holds nothing but itself.

What it adds are two ends: a client that does not read its answer is hung up on, and a stop waits for requests only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from gevent import socket
from gevent.local import local
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]

ANSWER_SECONDS: Final = 30
"""How long a client may leave an answer unread."""


class Worker(GeventWorker):  # type: ignore[misc]
    """The worker class that `gunicorn.conf.py` names."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._here = local()
        self._idle: set[socket.socket] = set()

    def handle(self, listener: socket.socket, client: socket.socket, address: Any) -> None:
        """Serve a connection; every one has a greenlet of its own."""
        self._here.client = client
        super().handle(listener, client, address)

    @contextmanager
    def timeout_ctx(self) -> Iterator[None]:
        """Wait up to `keepalive` seconds for the head of the next request to be there."""
        client = self._here.client
        self._idle.add(client)
        try:
            with super().timeout_ctx():
                yield
        finally:
            self._idle.discard(client)

    def notify(self) -> None:
        """Tell the master once a second that the loop runs; when it ends, end the waits for a next request."""
        super().notify()
        for client in [] if self.alive else list(self._idle):
            try:
                client.shutdown(socket.SHUT_RD)
            except OSError:
                self._idle.discard(client)

    def handle_request(self, listener_name: Any, req: Any, sock: socket.socket, addr: Any) -> None:
        """Answer a request."""
        sock.settimeout(ANSWER_SECONDS)
        try:
            super().handle_request(listener_name, req, sock, addr)
        except TimeoutError:
            raise StopIteration from None  # gunicorn's word for closing the connection
        sock.settimeout(None)
