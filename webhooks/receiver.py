"""Stripe's posts: verify, commit, hint, answer. One handler for snapshot and thin payloads at three addresses.

A WSGI app of its own: Flask's way from a request to an answer would take as long as a post's commit.

1. The body is read up to the cap, and its signature is judged before anything parses it.
2. The event is committed to the ledger, with those that came in meanwhile. Only then may the answer be 2xx: Stripe
   redelivers what was refused. A new customer for whom no usage waits is not stored: nothing follows from that
   event, and there are many of them.
3. Events that are new and ours are hinted to the job queue. A lost hint is found by the sweeper.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from werkzeug.exceptions import BadRequest, MethodNotAllowed
from werkzeug.wsgi import get_content_length

from webhooks import errors
from webhooks.group_commit import GroupCommit
from webhooks.signature import BAD_SIGNATURE, verify
from webhooks.traffic import Traffic
from workers.kernel import metrics
from workers.kernel.awaited_names import CUSTOMER
from workers.kernel.clock import Clock
from workers.kernel.codes import EventType
from workers.kernel.errors import BodyTooLarge, MetermendError, Refused, Transient
from workers.kernel.event_envelope import NOT_AWAITED, read_envelope
from workers.kernel.jobqueue import JobQueue
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.events import NewEvent
from workers.kernel.logs import get_logger
from workers.kernel.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = get_logger(__name__)

ADDRESSES: Final = ("/webhooks", "/webhooks/thin", "/webhooks/snapshot")
RECEIVED: Final = b'{"received":true}\n'
HEADERS: Final = (
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(RECEIVED))),
    ("X-Content-Type-Options", "nosniff"),
)


@dataclass
class Receiver:
    """The WSGI app, and what it works with."""

    settings: Settings
    ledger: Ledger
    queue: JobQueue
    clock: Clock
    traffic: Traffic

    def __post_init__(self) -> None:
        self._group = GroupCommit(self._keep)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer 200 once the event is committed; every refusal is answered by `webhooks.errors`."""
        try:
            self._receive(environ)
        except Exception as error:  # noqa: BLE001 (it is logged where it is answered)
            return errors.answer(error, environ)(environ, start_response)
        start_response("200 OK", list(HEADERS))
        return [RECEIVED]

    def _receive(self, environ: "WSGIEnvironment") -> None:
        if environ["REQUEST_METHOD"] != "POST":
            raise MethodNotAllowed(["POST"])
        started = time.perf_counter()
        try:
            body = _body(environ, self.settings.webhook_max_body)
            answer, receipt = self.take(body, environ.get("HTTP_STRIPE_SIGNATURE"))
        except MetermendError as error:
            if isinstance(error, Refused) and error.slug == BAD_SIGNATURE:
                self.traffic.note_bad_signature()
            _count(error.slug if isinstance(error, Refused) else "unavailable", started)
            raise
        self.traffic.note_taken()
        _count(answer, started, event_id=receipt.id, type=receipt.type, reason=receipt.ignored)

    def take(self, body: bytes, signature: str | None) -> tuple[str, NewEvent]:
        """Store a signed event and return how it was answered: received, duplicate or ignored.

        Raises Refused when it is not to be stored or has to wait too long, and LedgerUnavailable when it cannot be.
        """
        verify(
            body,
            signature,
            self.settings.signing_secrets,
            now=self.clock(),
            tolerance=self.settings.webhook_tolerance,
        )
        receipt = read_envelope(body, livemode=self.settings.livemode)
        if receipt.type == EventType.CUSTOMER_CREATED and not self._is_awaited(receipt):
            return "ignored", replace(receipt, ignored=NOT_AWAITED)
        if not self._group.of(receipt):
            return "duplicate", receipt
        return "ignored" if receipt.ignored else "received", receipt

    def _keep(self, receipts: Sequence[NewEvent]) -> Sequence[bool]:
        """Commit events, then hint at those that are new and ours; return of each whether it is new."""
        are_new = self.ledger.events.record_together(receipts)
        ours = [one for one, is_new in zip(receipts, are_new, strict=True) if is_new and not one.ignored]
        for large in (False, True):
            if event_ids := [one.id for one in ours if one.large is large]:
                self._hint(event_ids, large=large)
        return are_new

    def _hint(self, event_ids: Sequence[str], *, large: bool) -> None:
        try:
            self.queue.enqueue_new(event_ids, large=large)
        except Transient as error:
            metrics.ENQUEUE_FAILURES.inc(len(event_ids))
            log.warning("enqueue_failed", event_ids=event_ids, error=str(error))

    def _is_awaited(self, receipt: NewEvent) -> bool:
        """Whether refused usage waits for the customer: of the many that are created, no other is stored."""
        return receipt.object_id is not None and self.ledger.awaited.is_awaited(CUSTOMER + receipt.object_id)


def _body(environ: "WSGIEnvironment", cap: int) -> bytes:
    """Read a body of at most `cap` bytes, also one of undeclared length.

    Raises BodyTooLarge, and BadRequest when the client has gone before its end.
    """
    declared = get_content_length(environ)
    if (declared or 0) > cap:
        raise BodyTooLarge("body_too_large")
    end = cap + 1 if declared is None else declared
    body = bytearray()
    while len(body) < end and (part := environ["wsgi.input"].read(end - len(body))):
        body += part
    if len(body) > cap:
        raise BodyTooLarge("body_too_large")
    if len(body) < (declared or 0):
        raise BadRequest
    return bytes(body)


def _count(answer: str, started: float, **fields: str | None) -> None:
    seconds = time.perf_counter() - started
    metrics.WEBHOOKS.labels(answer).inc()
    metrics.WEBHOOK_SECONDS.observe(seconds)
    log.info("webhook", answer=answer, ms=round(seconds * 1000, 2), **{k: v for k, v in fields.items() if v})
