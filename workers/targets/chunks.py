"""What the targets that are called have in common: records go out in chunks, and each has one end.

A chunk's intent is committed before its first call and its result after the last, so that after a crash at most one
chunk is in doubt. It may be sent again only while the far side still knows its identifiers; after that its records
are returned as unresolved: their arrival has to be looked up, never tried out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol

import polars as pl

from workers.kernel.errors import Corrupt
from workers.records.schema import (
    CODE,
    EVENT_NAME,
    IDENTIFIER,
    MESSAGE,
    TIMESTAMP,
    is_payload,
    payload_key,
    scan_record_set,
)
from workers.reports.failed_records import FailureColumns, annotate
from workers.targets.target import Chunk, Held, Outgoing, Progress, RefusedRecord, Rows, Sent, Withheld

Record = dict[str, str | None]
"""A record of a submission, by the columns of its record set."""

_NEEDED: Final = (IDENTIFIER, TIMESTAMP, EVENT_NAME)
_ALREADY_EXISTS: Final = "already exists with identifier"


class Answer(Protocol):
    """What a call came to: `error` is the error object of a 400, None when its records were accepted.

    `asked_before` tells that an earlier try of the same call went unanswered.
    """

    @property
    def error(self) -> Mapping[str, Any] | None: ...
    @property
    def asked_before(self) -> bool: ...


@dataclass
class Answers:
    """What became of records so far; as plain JSON it is a chunk's result."""

    accepted: int = 0
    refused: list[list[Any]] = field(default_factory=list)
    held: list[list[Any]] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)
    withheld: list[list[str]] = field(default_factory=list)

    def add(self, other: "Answers") -> None:
        for name, more in vars(other).items():
            setattr(self, name, getattr(self, name) + more)

    def refuse(self, record: Record, error: Mapping[str, Any], *, tried_before: bool) -> None:
        """Note a 400: the record is held where its identifier is known already, else it is refused."""
        identifier, message = str(record[IDENTIFIER]), str(error.get("message") or "")
        if _ALREADY_EXISTS in message:
            self.held.append([identifier, tried_before])
        else:
            self.refused.append([identifier, error.get("code"), message])


class Called:
    """A target that is called: what a call has brought is there, and the adapter keeps the pace of the calls."""

    at_once = True

    def lies_there(self, name: str) -> bool:
        """Say no: nothing waits to be fetched."""
        del name
        return False

    def keep_pace(self) -> None:
        """Let it go."""


SendChunk = Callable[[Sequence[Record], Chunk | None], Answers]
"""Sends these records of a chunk; what the ledger knew of it before, None where it is intended in this very try."""
Withhold = Callable[[pl.DataFrame], Sequence[Withheld]]
"""Tells which records the target does not take, whatever the guards say."""


def send_in_chunks(
    outgoing: Outgoing,
    progress: Progress,
    send: SendChunk,
    *,
    size: int,
    location: str,
    withhold: Withhold = lambda _: (),
) -> Sent:
    """Send every chunk of `size` records that has no result yet; see `Target.send`.

    Raises Corrupt for an unfit record set, before anything is sent.
    """
    records, known, answers = _read(outgoing), progress.chunks(), Answers()
    withheld: list[Withheld] = []
    for number, chunk in enumerate(records.iter_slices(size)):
        before, rows = known.get(number), Rows(number * size, chunk.height)
        left_out = before.withheld if before is not None else _may_not_go(progress, rows, chunk, withhold)
        withheld += left_out
        if before is not None and before.result is not None:
            answers.add(Answers(**before.result))
            continue
        rest = _without(chunk, left_out)
        if before is None:
            progress.intend(number, rows, left_out)
            result = send(rest.to_dicts(), None)
        else:
            result = _send_again(rest, before, send, _may_not_go(progress, rows, rest, withhold))
        progress.finish(number, asdict(result))
        answers.add(result)
    return _sent(location, answers, withheld)


def _send_again(rest: pl.DataFrame, before: Chunk, send: SendChunk, stopped: Sequence[Withheld]) -> Answers:
    """Send what may go of a chunk that was begun; what may not go any more was perhaps sent, and stays in doubt."""
    there = set(rest[IDENTIFIER])
    result = send(_without(rest, stopped).to_dicts(), before)
    result.withheld += [[one.identifier, one.reason, one.advice] for one in stopped if one.identifier in there]
    return result


def send_batch(
    records: Sequence[Record], post: Callable[[Sequence[Record]], Answer], *, tried_before: bool
) -> Answers:
    """Post records in one call; where it is refused as a whole, each half by itself, down to those at fault.

    A record that was posted before without an answer may have been accepted then, whatever is said of it now. So
    its refusal leaves it unresolved.
    """
    if not records:
        return Answers()
    answer = post(records)
    if answer.error is None:
        return Answers(accepted=len(records))
    tried_before, answers = tried_before or answer.asked_before, Answers()
    if len(records) > 1:
        half = len(records) // 2
        for part in (records[:half], records[half:]):
            answers.add(send_batch(part, post, tried_before=tried_before))
        return answers
    answers.refuse(records[0], answer.error, tried_before=tried_before)
    if tried_before and answers.refused:
        return unresolved(records)
    return answers


def unresolved(records: Sequence[Record]) -> Answers:
    """Return what becomes of records that may have arrived and that it is too late to ask for again."""
    return Answers(unresolved=[str(record[IDENTIFIER]) for record in records])


def record_columns(records: pl.LazyFrame) -> pl.LazyFrame:
    """Return of records what is sent of them."""
    payload = [name for name in records.collect_schema().names() if is_payload(name)]
    return records.select(*_NEEDED, *payload)


def payload_of(record: Record) -> dict[str, str]:
    """Return a record's payload by its keys, without those that it lacks."""
    return {payload_key(name): text for name, text in record.items() if is_payload(name) and text is not None}


def _read(outgoing: Outgoing) -> pl.DataFrame:
    """Return the records, as many as promised, each with an identifier of its own and a time in whole seconds."""
    records = record_columns(scan_record_set(outgoing.record_set)).collect()
    sound = (
        records.height == outgoing.records
        and records[IDENTIFIER].n_unique() == records.height
        and sum(records.select(_NEEDED).null_count().row(0), 0) == 0
        and bool(records[TIMESTAMP].str.contains(r"^-?[0-9]+$").all())
    )
    if not sound:
        raise Corrupt(f"the record set of {outgoing.submission_id} is not the one that was planned")
    return records


def _may_not_go(progress: Progress, rows: Rows, chunk: pl.DataFrame, withhold: Withhold) -> tuple[Withheld, ...]:
    """Return what the guards stop of these rows, and of this chunk what the target does not take."""
    guarded = progress.may_not_go(rows)
    stopped = {one.identifier for one in guarded}
    return (*guarded, *(one for one in withhold(chunk) if one.identifier not in stopped))


def _without(chunk: pl.DataFrame, withheld: Sequence[Withheld]) -> pl.DataFrame:
    return chunk.filter(~pl.col(IDENTIFIER).is_in([one.identifier for one in withheld]))


def _sent(location: str, answers: Answers, withheld: Sequence[Withheld]) -> Sent:
    return Sent(
        location=location,
        accepted=answers.accepted,
        refused=_coded(answers.refused),
        held=tuple(Held(identifier, tried_before) for identifier, tried_before in answers.held),
        unresolved=tuple(answers.unresolved),
        withheld=(*withheld, *(Withheld(name, reason, advice, True) for name, reason, advice in answers.withheld)),
    )


def _coded(refused: Sequence[Sequence[Any]]) -> tuple[RefusedRecord, ...]:
    """Name Stripe's code where the answer's `code` or its sentence is certain."""
    said = pl.DataFrame(
        refused, schema={IDENTIFIER: pl.String, "code": pl.String, "message": pl.String}, orient="row"
    )
    coded = annotate(said, FailureColumns(code="code", message="message"))
    return tuple(
        RefusedRecord(identifier, code, message or "")
        for identifier, code, message in coded.select(IDENTIFIER, CODE, MESSAGE).iter_rows()
    )
