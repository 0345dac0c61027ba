"""Whose password is checked. It costs a core 60 ms on purpose, so strangers must not keep the operator waiting.

A browser that logged in before carries a signed cookie, and is checked in a lane of its own: whoever floods the
login cannot lock it out. The others wait in turn, and an address that was wrong too often waits for a minute.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from secrets import token_urlsafe
from typing import Final

import gevent
from flask import Request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.exceptions import TooManyRequests
from werkzeug.security import check_password_hash, generate_password_hash
from werkzeug.wrappers import Response

from workers.kernel.ledger.users import SHARED

LONGEST_PASSWORD: Final = 256
TRIES: Final = 10
"""Wrong passwords of one address in a minute; then it has to wait."""
TRIES_BY_NAME: Final = 30
"""And for one name, from wherever: enough that who knows it can hardly keep its owner out."""
MINUTE: Final = 60.0
ADDRESSES: Final = 10_000
"""How many addresses and names are remembered; the oldest are forgotten first."""
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
    """Check passwords against hashes; `secret` signs the cookies of browsers that knew one."""

    def __init__(self, secret: str) -> None:
        self._signed = URLSafeTimedSerializer(secret, salt="metermend-known-browser")
        self._strangers, self._known = _Lane(), _Lane()
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def is_password(self, given: str, password_hash: str | None, who: str, request: Request) -> bool:
        """Whether a request's password is that of a hash; None for a name that nobody has, which costs the same.

        Raises TooManyRequests, by address and by name; never for a known browser's right password.
        """
        tried_by = {f"address {request.remote_addr}": TRIES}
        if who != SHARED:  # whoever floods that would keep out everybody
            tried_by[f"name {who}"] = TRIES_BY_NAME
        known = password_hash is not None and self._is_known(request.cookies.get(KNOWN_COOKIE, ""), password_hash)
        self._require_patience(tried_by, known=known)
        with self._turn(self._known if known else self._strangers):
            self._require_patience(tried_by, known=known)  # others were checked meanwhile
            right = len(given) <= LONGEST_PASSWORD and self._checked(given, password_hash)
        if not right:
            self._remember_wrong(tried_by)
        return right

    def remember(self, response: Response, password_hash: str, *, secure: bool) -> Response:
        """Let the browser be known from now on."""
        response.set_cookie(
            KNOWN_COOKIE,
            str(self._signed.dumps(name_of(password_hash))),
            max_age=KNOWN_SECONDS,
            path="/console/login",
            secure=secure,
            httponly=True,
            samesite="Lax",
        )
        return response

    def _is_known(self, cookie: str, password_hash: str) -> bool:
        try:
            return bool(self._signed.loads(cookie, max_age=KNOWN_SECONDS) == name_of(password_hash))
        except BadSignature:
            return False

    def _checked(self, given: str, password_hash: str | None) -> bool:
        pool = gevent.get_hub().threadpool  # the loop goes on meanwhile
        right = bool(pool.apply(check_password_hash, (password_hash or _nobodys_hash(), given)))
        return right and password_hash is not None

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

    def _require_patience(self, tried_by: Mapping[str, int], *, known: bool) -> None:
        times = [(self._wrong.get(one, deque()), tries) for one, tries in tried_by.items()]
        seconds = max(each[0] + MINUTE - time.monotonic() if len(each) == tries else 0.0 for each, tries in times)
        if seconds > 0 and not known:
            raise TooManyRequests(retry_after=int(seconds) + 1)

    def _remember_wrong(self, tried_by: Mapping[str, int]) -> None:
        for one, tries in tried_by.items():
            self._wrong.setdefault(one, deque(maxlen=tries)).append(time.monotonic())
            self._wrong.move_to_end(one)
        while len(self._wrong) > ADDRESSES:
            self._wrong.popitem(last=False)


@cache
def _nobodys_hash() -> str:
    """Return a hash that no password has: a name that nobody has takes as long to refuse."""
    return generate_password_hash(token_urlsafe(32))
