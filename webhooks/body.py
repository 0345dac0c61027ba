"""The body of a request, read in bounded time and in small steps, whatever its sender does.

gevent changes greenlets where one has to wait: a sender that is faster than we are would keep the loop to himself.
"""

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import gevent
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from werkzeug.exceptions import BadRequest, HTTPException, RequestTimeout

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_SECONDS: Final = 15
"""From the end of a request's head to the end of its body."""
STEP: Final = 4096
LINGER_STEPS: Final = 4096
"""How much is read on of a refused body: whoever still sends it may not look for an answer before."""


class Body:
    """`wsgi.input` of one request. Reading raises RequestTimeout, and BadRequest for what is no body."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._ends = time.monotonic() + REQUEST_SECONDS

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, nothing at the body's end."""
        try:
            with gevent.Timeout(max(self._ends - time.monotonic(), 0), RequestTimeout()):
                gevent.sleep(0)
                return bytes(self._stream.read(min(size, STEP)))
        except ParseException as error:
            raise BadRequest from error

    def linger(self) -> None:
        """Read on and forget."""
        with suppress(HTTPException, OSError):
            for _ in range(LINGER_STEPS):
                if not self.read(STEP):
                    return


class BoundedBodies:
    """Gives the app's requests such bodies."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        gevent.sleep(0)  # also a client with many requests at once lets others in between
        return self._app(environ | {"wsgi.input": Body(environ["wsgi.input"])}, start_response)
