"""Stripe's meter event stream: many events a call, by the token of a session that each account has of its own.

Sources: Stripe docs, "Create a Meter Event Session" (a token lasts 15 minutes) and "Create a Meter Event with
asynchronous validation" (100 events a call, no answer about any, 401 once the token is over).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final

from workers.kernel.clock import Clock, from_text
from workers.kernel.errors import Transient
from workers.stripe_api.call import Calls
from workers.stripe_api.errors import BadRequest, RateLimited, SessionExpired, Unauthorized
from workers.stripe_api.protocol import MeterEventReceipt

SESSION: Final = "/v2/billing/meter_event_session"
STREAM: Final = "/v2/billing/meter_event_stream"
RENEW_BEFORE: Final = timedelta(minutes=1)
"""How long before its end a token is given up: a call may take a while to be read."""


@dataclass(frozen=True)
class _Session:
    token: str
    good_until: datetime


class MeterEventStream:
    """Sends events by the stream. Safe for several threads."""

    def __init__(self, calls: Calls, clock: Clock) -> None:
        self._calls = calls
        self._clock = clock
        self._sessions: dict[str | None, _Session] = {}
        self._turn = Lock()

    def send(self, events: Sequence[Mapping[str, Any]], account: str | None) -> MeterEventReceipt:
        """Send up to 100 events of one account. Raises Transient or Permanent where none of that is answered."""
        batch = _Batch(self, events, account)
        try:
            self._calls.persist(batch, self._calls.paces.stream)
        except BadRequest as refusal:
            return MeterEventReceipt(refusal.error, batch.unanswered)
        return MeterEventReceipt(None, batch.unanswered)

    def post(self, events: Sequence[Mapping[str, Any]], account: str | None) -> None:
        """Post once; where the token is refused, which leaves the events unread, once more with another."""
        session = self._session(account)
        try:
            self._calls.once_by_token(STREAM, {"events": events}, session.token)
        except (SessionExpired, Unauthorized):
            renewed = self._session(account, instead_of=session)
            self._calls.once_by_token(STREAM, {"events": events}, renewed.token)

    def _session(self, account: str | None, instead_of: _Session | None = None) -> _Session:
        with self._turn:
            known = self._sessions.get(account)
            if known is None or known is instead_of or known.good_until <= self._clock():
                known = self._sessions[account] = self._open(account)
            return known

    def _open(self, account: str | None) -> _Session:
        """Ask for a token; how long it lasts is told by Stripe's clock, from when on by ours."""
        asked_at = self._clock()
        told = self._calls.once("post", SESSION, {}, account)
        lasts = from_text(told["expires_at"]) - from_text(told["created"])
        return _Session(told["authentication_token"], asked_at + lasts - RENEW_BEFORE)


@dataclass
class _Batch:
    """One call of the stream through all its tries. `unanswered`: a try may have been heard without an answer."""

    stream: MeterEventStream
    events: Sequence[Mapping[str, Any]]
    account: str | None
    unanswered: bool = False

    def __call__(self) -> None:
        try:
            self.stream.post(self.events, self.account)
        except RateLimited:
            raise
        except Transient:
            self.unanswered = True
            raise
