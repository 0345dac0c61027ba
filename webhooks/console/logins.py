"""Whose password is checked. It costs a core 60 ms on purpose, so strangers must not keep the operator waiting.

A browser that logged in before carries a signed cookie, and is checked in a lane of its own: whoever floods the
login cannot lock it out. The others wait in turn, and an address that was wrong too often waits for a minute.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import gevent
from flask import Request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.exceptions import TooManyRequests
from werkzeug.security import check_password_hash
from werkzeug.wrappers import Response

LONGEST_PASSWORD: Final = 256
TRIES: Final = 10
"""Wrong passwords of one address in a minute; then it has to wait."""
MINUTE: Final = 60.0
ADDRESSES: Final = 10_000
"""How many addresses are remembered; the oldest are forgotten first."""
TURN_SECONDS: Final = 5.0
"""How long a password waits to be checked."""
QUEUE: Final = 20
"""How many wait at a time; each holds a connection that Stripe may need."""
KNOWN_COOKIE: Final = "metermend_known"
KNOWN_SECONDS: Final = 90 * 86_400


def name_of(password_hash: str) -> str:
    """Return what a cookie says of the password: with another one it is worth nothing."""
    return sha256(password_hash.encode()).hexdigest()[:16]


@dataclass
class _Lane:
    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: int = 0


class Logins:
    """Check passwords against one hash; `secret` signs the cookies of browsers that knew the password."""

    def __init__(self, password_hash: str, secret: str) -> None:
        self._password_hash = password_hash
        self._signed = URLSafeTimedSerializer(secret, salt="metermend-known-browser")
        self._name = name_of(password_hash)
        self._strangers, self._known = _Lane(), _Lane()
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def is_password(self, given: str, request: Request) -> bool:
        """Whether a request's password is right. Raises TooManyRequests; never for a known browser's right one."""
        address = request.remote_addr or ""
        known = self._is_known(request.cookies.get(KNOWN_COOKIE, ""))
        self._require_patience(address, known=known)
        with self._turn(self._known if known else self._strangers):
            self._require_patience(address, known=known)  # others of the address were checked meanwhile
            right = len(given) <= LONGEST_PASSWORD and self._checked(given)
        if not right:
            self._remember_wrong(address)
        return right

    def remember(self, response: Response, *, secure: bool) -> Response:
        """Let the browser be known from now on."""
        response.set_cookie(
            KNOWN_COOKIE,
            str(self._signed.dumps(self._name)),
            max_age=KNOWN_SECONDS,
            path="/console/login",
            secure=secure,
            httponly=True,
            samesite="Lax",
        )
        return response

    def _is_known(self, cookie: str) -> bool:
        try:
            return bool(self._signed.loads(cookie, max_age=KNOWN_SECONDS) == self._name)
        except BadSignature:
            return False

    def _checked(self, given: str) -> bool:
        pool = gevent.get_hub().threadpool  # the loop goes on meanwhile
        return bool(pool.apply(check_password_hash, (self._password_hash, given)))

    @contextmanager
    def _turn(self, lane: _Lane) -> Iterator[None]:
        if lane.waiting >= QUEUE:
            raise TooManyRequests(retry_after=1)
        lane.waiting += 1
        try:
            if not lane.lock.acquire(timeout=TURN_SECONDS):
                raise TooManyRequests(retry_after=1)
            try:
                yield
            finally:
                lane.lock.release()
        finally:
            lane.waiting -= 1

    def _require_patience(self, address: str, *, known: bool) -> None:
        times = self._wrong.get(address, deque())
        seconds = times[0] + MINUTE - time.monotonic() if len(times) == TRIES else 0.0
        if seconds > 0 and not known:
            raise TooManyRequests(retry_after=int(seconds) + 1)

    def _remember_wrong(self, address: str) -> None:
        self._wrong.setdefault(address, deque(maxlen=TRIES)).append(time.monotonic())
        self._wrong.move_to_end(address)
        if len(self._wrong) > ADDRESSES:
            self._wrong.popitem(last=False)
