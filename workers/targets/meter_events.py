"""The meter events API as a target: at most once for each record, also across crashes and lost answers.

Records go out in chunks. A chunk's intent is committed before its first call and its result after the last, so that
after a crash at most one chunk is in doubt. How doubt is resolved:

- A chunk without a result is sent again with the same identifiers and idempotency keys. Stripe answers a repeated
  key with what it answered first (Stripe docs, "Idempotent requests": kept for at least 24 hours), and refuses a
  repeated identifier for as long ("Create a billing meter event"). So a repetition records nothing twice, and a
  refusal that it gets tells that the first try was not accepted either: else the acceptance would be repeated.
- Once `RESEND_WITHIN` has passed since the intent, neither memory can be relied on. Its records are then not sent
  again but returned as unresolved: their arrival has to be looked up, never tried out.
- "already exists" means that Stripe remembers the identifier. It does not say whether that usage was ours, nor
  whether it was refused afterwards, so such a record is held and never counts as billed. `Held.tried_before` tells
  apart what an own unanswered call explains from what it does not: the former may be confirmed like any other, the
  latter needs a person.

Calls of one customer and event name go out one after the other and in the order of the record set, as Stripe takes
one at a time per customer and meter (Stripe docs, "Record usage with the API"), and as pre-aggregated meters keep
the last one. Two submissions at once may still meet; Stripe then answers 429, and the adapter backs off.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from threading import Event
from typing import Any, Final, Protocol

import polars as pl

from workers.kernel.clock import Clock, utc_now
from workers.kernel.errors import Corrupt
from workers.records.schema import (
    CODE,
    EVENT_NAME,
    IDENTIFIER,
    MESSAGE,
    TIMESTAMP,
    is_payload,
    payload_column,
    payload_key,
    scan_record_set,
)
from workers.reports.failed_records import FailureColumns, annotate
from workers.targets.target import (
    Chunk,
    Held,
    Outgoing,
    Progress,
    RefusedRecord,
    Rows,
    Sent,
    Withheld,
)

CHUNK: Final = 200
"""Records of a chunk: what a crash makes us ask for once more."""
THREADS: Final = 8
"""Calls under way at once; the adapter's pace keeps them below Stripe's limit."""
_ALREADY_EXISTS: Final = "already exists with identifier"
_CUSTOMER: Final = payload_column("stripe_customer_id")

Record = dict[str, str | None]


class MeterEventAnswer(Protocol):
    """Stripe's answer: `error` is its error object of a 400, None when the record was accepted for processing.

    `asked_before` tells that an earlier try of the same call went unanswered.
    """

    @property
    def error(self) -> Mapping[str, Any] | None: ...
    @property
    def asked_before(self) -> bool: ...


class MeterEventsApi(Protocol):
    """The one call that this target needs of Stripe."""

    def create_meter_event(
        self, event: Mapping[str, Any], idempotency_key: str, account: str | None
    ) -> MeterEventAnswer:
        """Record usage. Raises Transient or Permanent when there is no answer about this record."""


@dataclass
class _Answers:
    """What became of records so far; as plain JSON it is a chunk's result."""

    accepted: int = 0
    refused: list[list[Any]] = field(default_factory=list)
    held: list[list[Any]] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)
    withheld: list[list[str]] = field(default_factory=list)

    def add(self, other: "_Answers") -> None:
        for name, more in vars(other).items():
            setattr(self, name, getattr(self, name) + more)


@dataclass(frozen=True)
class MeterEventsTarget:
    """Sends records one by one to `/v1/billing/meter_events`."""

    name = "meter-events"
    at_once = True

    api: MeterEventsApi
    clock: Clock = utc_now

    def lies_there(self, name: str) -> bool:
        """Say no: what a call has brought, Stripe has."""
        del name
        return False

    def keep_pace(self) -> None:
        """Let it go: the adapter keeps the pace of the calls."""

    def send(self, outgoing: Outgoing, progress: Progress) -> Sent:
        """Send every chunk that has no result yet; see `Target.send`. Raises Corrupt for an unfit record set."""
        records, known, answers = _read(outgoing), progress.chunks(), _Answers()
        withheld: list[Withheld] = []
        for number, chunk in enumerate(records.iter_slices(CHUNK)):
            before, rows = known.get(number), Rows(number * CHUNK, chunk.height)
            left_out = before.withheld if before is not None else progress.may_not_go(rows)
            withheld += left_out
            if before is not None and before.result is not None:
                answers.add(_Answers(**before.result))
                continue
            if before is None:
                progress.intend(number, rows, left_out)
            result = self._send_rest(_without(chunk, left_out), outgoing, before, rows, progress)
            progress.finish(number, asdict(result))
            answers.add(result)
        return _sent(answers, withheld)

    def _send_rest(
        self, chunk: pl.DataFrame, outgoing: Outgoing, before: Chunk | None, rows: Rows, progress: Progress
    ) -> _Answers:
        """Send what may go of a chunk; what was perhaps sent before and may not go any more stays in doubt."""
        if before is None:
            return self._send_chunk(chunk.to_dicts(), outgoing, before)
        stopped = [one for one in progress.may_not_go(rows) if one.identifier in set(chunk[IDENTIFIER])]
        result = self._send_chunk(_without(chunk, stopped).to_dicts(), outgoing, before)
        result.withheld += [[one.identifier, one.reason, one.advice] for one in stopped]
        return result

    def _send_chunk(self, records: Sequence[Record], outgoing: Outgoing, before: Chunk | None) -> _Answers:
        """Send the lanes of a chunk side by side; the first error stops them all and is raised."""
        stop, answers = Event(), _Answers()

        def send(lane: Sequence[Record]) -> _Answers:
            try:
                return self._send_lane(lane, outgoing, before, stop)
            except BaseException:
                stop.set()
                raise

        with ThreadPoolExecutor(THREADS, "meter-events") as threads:
            for result in threads.map(send, _lanes(records)):
                answers.add(result)
        return answers

    def _send_lane(self, lane: Sequence[Record], outgoing: Outgoing, before: Chunk | None, stop: Event) -> _Answers:
        answers = _Answers()
        for record in lane:
            if stop.is_set():
                break
            if before is not None and before.is_late(self.clock()):
                answers.unresolved.append(str(record[IDENTIFIER]))
            else:
                self._send_record(record, outgoing, answers, tried_before=before is not None)
        return answers

    def _send_record(self, record: Record, outgoing: Outgoing, answers: _Answers, *, tried_before: bool) -> None:
        identifier = str(record[IDENTIFIER])
        key = idempotency_key(outgoing.submission_id, identifier)
        receipt = self.api.create_meter_event(_event(record), key, outgoing.account)
        message = str((receipt.error or {}).get("message") or "")
        if receipt.error is None:
            answers.accepted += 1
        elif _ALREADY_EXISTS in message:
            answers.held.append([identifier, tried_before or receipt.asked_before])
        else:
            answers.refused.append([identifier, receipt.error.get("code"), message])


def idempotency_key(submission_id: str, identifier: str) -> str:
    """Return the key of one record's call: the same for ever, and fit for a header whatever the identifier is."""
    return f"metermend-{sha256(f'{submission_id}/{identifier}'.encode()).hexdigest()}"


def _read(outgoing: Outgoing) -> pl.DataFrame:
    """Return the records, as many as promised, each with an identifier of its own and a time in whole seconds."""
    columns = [IDENTIFIER, TIMESTAMP, EVENT_NAME]
    scanned = scan_record_set(outgoing.record_set)
    payload = [name for name in scanned.collect_schema().names() if is_payload(name)]
    records = scanned.select(*columns, *payload).collect()
    sound = (
        records.height == outgoing.records
        and records[IDENTIFIER].n_unique() == records.height
        and sum(records.select(columns).null_count().row(0), 0) == 0
        and bool(records[TIMESTAMP].str.contains(r"^-?[0-9]+$").all())
    )
    if not sound:
        raise Corrupt(f"the record set of {outgoing.submission_id} is not the one that was planned")
    return records


def _lanes(records: Sequence[Record]) -> list[list[Record]]:
    """Divide records by customer and event name, the longest lane first.

    Where a meter keeps its customer under another key, all records of its event name share one lane.
    """
    lanes: dict[tuple[str | None, str | None], list[Record]] = {}
    for record in records:
        lanes.setdefault((record[EVENT_NAME], record.get(_CUSTOMER)), []).append(record)
    return sorted(lanes.values(), key=len, reverse=True)


def _event(record: Record) -> dict[str, Any]:
    payload = {payload_key(name): text for name, text in record.items() if is_payload(name) and text is not None}
    return {
        "event_name": record[EVENT_NAME],
        "identifier": record[IDENTIFIER],
        "timestamp": int(str(record[TIMESTAMP])),
        "payload": payload,
    }


def _without(chunk: pl.DataFrame, withheld: Sequence[Withheld]) -> pl.DataFrame:
    return chunk.filter(~pl.col(IDENTIFIER).is_in([one.identifier for one in withheld]))


def _sent(answers: _Answers, withheld: Sequence[Withheld]) -> Sent:
    return Sent(
        location="Stripe's meter events API",
        accepted=answers.accepted,
        refused=_coded(answers.refused),
        held=tuple(Held(identifier, tried_before) for identifier, tried_before in answers.held),
        unresolved=tuple(answers.unresolved),
        withheld=(*withheld, *(Withheld(name, reason, advice, True) for name, reason, advice in answers.withheld)),
    )


def _coded(refused: Sequence[Sequence[Any]]) -> tuple[RefusedRecord, ...]:
    """Name Stripe's code where its `code` or its sentence is certain."""
    said = pl.DataFrame(
        refused, schema={IDENTIFIER: pl.String, "code": pl.String, "message": pl.String}, orient="row"
    )
    coded = annotate(said, FailureColumns(code="code", message="message"))
    return tuple(
        RefusedRecord(identifier, code, message or "")
        for identifier, code, message in coded.select(IDENTIFIER, CODE, MESSAGE).iter_rows()
    )
