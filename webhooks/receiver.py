"""Stripe's posts: verify, commit, hint, answer. One handler for snapshot and thin payloads at three addresses.

1. The body is read up to the cap, and its signature is judged before anything parses it.
2. The event is committed to the ledger, with those that came in meanwhile. Only then may the answer be 2xx: Stripe
   redelivers what was refused. A new customer for whom no usage waits is not stored: nothing follows from that
   event, and there are many of them.
3. Events that are new and ours are hinted to the job queue. A lost hint is found by the sweeper.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flask import Blueprint, Response, current_app, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from webhooks.group_commit import GroupCommit
from webhooks.signature import BAD_SIGNATURE, verify
from webhooks.traffic import Traffic
from workers.kernel import metrics
from workers.kernel.clock import Clock
from workers.kernel.codes import EventType
from workers.kernel.errors import BodyTooLarge, MetermendError, Refused, Transient
from workers.kernel.event_envelope import NOT_AWAITED, read_envelope
from workers.kernel.jobqueue import JobQueue, hint_at_new
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.awaited import CUSTOMER
from workers.kernel.ledger.events import NewEvent
from workers.kernel.logs import get_logger
from workers.kernel.settings import Settings

log = get_logger(__name__)
blueprint = Blueprint("receiver", __name__)


@dataclass
class Receiver:
    """What the handler works with; kept in the app's extensions."""

    settings: Settings
    ledger: Ledger
    queue: JobQueue
    clock: Clock
    traffic: Traffic

    def __post_init__(self) -> None:
        self._group = GroupCommit(self._keep)

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
            self._hint([one.id for one in ours if one.large is large], large=large)
        return are_new

    def _hint(self, event_ids: Sequence[str], *, large: bool) -> None:
        try:
            hint_at_new(self.queue, *event_ids, large=large)
        except Transient as error:
            metrics.ENQUEUE_FAILURES.inc(len(event_ids))
            log.warning("enqueue_failed", event_ids=event_ids, error=str(error))

    def _is_awaited(self, receipt: NewEvent) -> bool:
        """Whether refused usage waits for the customer: of the many that are created, no other is stored."""
        return receipt.object_id is not None and self.ledger.awaited.is_awaited(CUSTOMER + receipt.object_id)


@blueprint.post("/webhooks", strict_slashes=False)
@blueprint.post("/webhooks/thin", strict_slashes=False)
@blueprint.post("/webhooks/snapshot", strict_slashes=False)
def receive() -> Response:
    """Answer 200 once the event is committed; every refusal is raised and answered by `webhooks.errors`."""
    started = time.perf_counter()
    receiver: Receiver = current_app.extensions["receiver"]
    try:
        body = _body(receiver.settings.webhook_max_body)
        answer, receipt = receiver.take(body, request.headers.get("Stripe-Signature"))
    except MetermendError as error:
        if isinstance(error, Refused) and error.slug == BAD_SIGNATURE:
            receiver.traffic.note_bad_signature()
        _count(error.slug if isinstance(error, Refused) else "unavailable", started)
        raise
    receiver.traffic.note_taken()
    _count(answer, started, event_id=receipt.id, type=receipt.type, reason=receipt.ignored)
    return jsonify(received=True)


def _body(cap: int) -> bytes:
    """Read a body of at most `cap` bytes, also one of undeclared length. Raises BodyTooLarge."""
    # Werkzeug refuses a declared length, but silently cuts an undeclared one: one byte more tells them apart.
    request.max_content_length = cap + 1
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        body = None
    if body is None or len(body) > cap:
        raise BodyTooLarge("body_too_large")
    return body


def _count(answer: str, started: float, **fields: str | None) -> None:
    seconds = time.perf_counter() - started
    metrics.WEBHOOKS.labels(answer).inc()
    metrics.WEBHOOK_SECONDS.observe(seconds)
    log.info("webhook", answer=answer, ms=round(seconds * 1000, 2), **{k: v for k, v in fields.items() if v})
