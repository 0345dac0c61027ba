"""gunicorn's gevent worker and the bodies it hands over: a slow or greedy client holds its own greenlet only.

A client that does not read its answer is hung up on, and a stop waits for requests only. A body is read in bounded
time and in small steps: gevent changes greenlets where one has to wait, so that a sender who is faster than we are
would keep the loop to himself.
"""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent import socket
from gevent.local import local
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]
from werkzeug.exceptions import BadRequest, HTTPException, RequestTimeout

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


ANSWER_SECONDS: Final = 30
"""How long a client may leave an answer unread."""


class Worker(GeventWorker):  # type: ignore[misc]
    """The worker class that `gunicorn_conf` names."""

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
        sock.settimeout(ANSWER_SECONDS)
        try:
            super().handle_request(listener_name, req, sock, addr)
        except TimeoutError:
            raise StopIteration from None  # gunicorn's word for closing the connection
        sock.settimeout(None)


REQUEST_SECONDS: Final = 15
"""From the end of a request's head to the end of its body."""
STEP: Final = 4096
_SLASHES: Final = re.compile("/{2,}")
LINGER_STEPS: Final = 4096
"""How much is read on of a refused body: whoever still sends it may not look for an answer before."""


class Body:
    """`wsgi.input` of one request. Reading raises RequestTimeout, and BadRequest for none or half of one."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._ends = time.monotonic() + REQUEST_SECONDS

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, nothing at the body's end."""
        try:
            with gevent.Timeout(max(self._ends - time.monotonic(), 0), RequestTimeout()):
                gevent.sleep(0)
                return bytes(self._stream.read(min(size, STEP)))
        except (ParseException, OSError) as error:
            raise BadRequest from error

    def linger(self) -> None:
        """Read on and forget."""
        with suppress(HTTPException):
            for _ in range(LINGER_STEPS):
                if not self.read(STEP):
                    return


class BoundedRequests:
    """Gives the app's requests such bodies, and routes `//webhooks//` as `/webhooks/`.

    Flask would redirect there, which Stripe takes for a failed delivery.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        gevent.sleep(0)  # also a client with many requests at once lets others in between
        environ["PATH_INFO"] = _SLASHES.sub("/", environ["PATH_INFO"])
        environ["wsgi.input"] = Body(environ["wsgi.input"])
        return self._app(environ, start_response)
