"""The seam between the pipeline and wherever corrected usage is sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import polars as pl

from workers.kernel.clock import is_within

RESEND_WITHIN: Final = timedelta(hours=23)
"""How long after its intent a chunk may be sent again.

Stripe remembers identifiers for at least 24 hours (Stripe docs, "Record usage for billing"); an hour less leaves
room for clocks, for slow calls and for the connector's next look into its folder.
"""


@dataclass(frozen=True)
class Outgoing:
    """One submission, as a target needs it.

    `records` is how many rows `record_set` has: a Parquet file with the columns `identifier`, `timestamp` (epoch
    seconds), `event_name` and `payload_<key>`, all text and none of them null but for payload keys that a record
    lacks. `account` is the connected account that the usage belongs to, or None for our own.
    """

    submission_id: str
    account: str | None
    record_set: Path
    records: int


@dataclass(frozen=True)
class Rows:
    """Rows of a submission's record set: `records` of them, from row `first` on, counted from 0."""

    first: int
    records: int


@dataclass(frozen=True)
class Withheld:
    """A record that was not to be sent any more when its turn came.

    `reason` and `advice` are the guard's word to a person. `tried_before`: a call for it went unanswered before, so
    that it may have arrived all the same.
    """

    identifier: str
    reason: str
    advice: str
    tried_before: bool = False


@dataclass(frozen=True)
class Chunk:
    """What the ledger knows of one chunk.

    `result` is the plain JSON that it was finished with, None while open. `withheld` was left out of it from the
    start. `judged`: Stripe has told its verdict on the chunk's file, so the file has been there. `fresh`: it was
    intended in this very try, so that nothing of it can be there. `rows` are those that it is of, where the ledger
    tells.
    """

    intended_at: datetime
    result: Any | None
    withheld: tuple[Withheld, ...] = ()
    judged: bool = False
    fresh: bool = False
    rows: Rows | None = None

    def is_late(self, now: datetime, within: timedelta = RESEND_WITHIN) -> bool:
        """Whether it may no longer be sent again; of an intent that lies ahead nobody knows how old it is."""
        return not is_within(self.intended_at, within, now)


class Progress(Protocol):
    """How far one submission has come. Each call is committed before it returns."""

    def chunks(self) -> Mapping[int, Chunk]:
        """Return every chunk that was ever intended, by its number."""

    def may_not_go(self, rows: Rows) -> tuple[Withheld, ...]:
        """Return those of the rows that must not be sent any more; to be asked directly before they are."""

    def intend(self, number: int, rows: Rows, withheld: tuple[Withheld, ...]) -> None:
        """Write down that a chunk is about to be sent, of these rows without what is withheld.

        A chunk is intended once, also if it is sent again.
        """

    def finish(self, number: int, result: Any) -> None:
        """Write down what became of a chunk; `result` is plain JSON."""


@dataclass(frozen=True)
class RefusedRecord:
    """A record that the target turned away at once.

    `code` is Stripe's where it is certain, else `malformed_record`; `message` is the target's own sentence.
    """

    identifier: str
    code: str
    message: str


@dataclass(frozen=True)
class Held:
    """A record whose identifier the target already knows: it is there once, but nobody has proved that it counts.

    `tried_before` tells that an earlier call of this very submission went unanswered, so that the earlier one may
    well be ours; where it is false, somebody else has used our identifier. Neither is ever sent again under another
    identifier, and neither counts as billed (promise 3).
    """

    identifier: str
    tried_before: bool


@dataclass(frozen=True)
class Sent:
    """What a target answered: `accepted` + refused + held + unresolved + withheld = the submission's records.

    `location` names where the usage went, for a person to look. `unresolved` are identifiers of records that may or
    may not have arrived and that it is too late to ask for again. The lists are in memory: only exceptions stand in
    them, and the one target that has them sends at most 1,000 records per second.
    """

    location: str
    accepted: int
    refused: tuple[RefusedRecord, ...] = ()
    held: tuple[Held, ...] = ()
    unresolved: tuple[str, ...] = ()
    withheld: tuple[Withheld, ...] = ()


@dataclass(frozen=True)
class NotCounted:
    """A record that the target does not count as what was sent; `reason` and `advice` are its word to a person."""

    identifier: str
    reason: str
    advice: str


@dataclass(frozen=True)
class Arrived:
    """What a target itself says of records: what it names in neither has not shown. `proof` is plain JSON."""

    counted: tuple[str, ...]
    not_counted: tuple[NotCounted, ...]
    proof: Mapping[str, Any]


@runtime_checkable
class Proving(Protocol):
    """A target that is asked itself what it counts, since Stripe does not know of it."""

    def arrived(self, records: pl.DataFrame) -> Arrived:
        """Return what it says of these records, which have the columns of a record set. Raises as `send` does."""


class Target(Protocol):
    """Somewhere that takes corrected usage. `name` is what the ledger and the pages call it.

    `at_once`: Stripe has a record when the target has; else Stripe comes for it at a moment of its own.
    """

    @property
    def name(self) -> str: ...

    @property
    def at_once(self) -> bool: ...

    def keep_pace(self) -> None:
        """Raise Paced where a submission that has not begun has to wait; to be asked before it is sent."""

    def lies_there(self, name: str) -> bool:
        """Whether a file of ours lies where Stripe may come for it yet. Raises as the place does."""

    def send(self, outgoing: Outgoing, progress: Progress) -> Sent:
        """Send every record that has not been sent yet and return what became of all of them.

        Called again for the same submission after any failure; it must then resume, not repeat.

        Raises Transient when the rest has to wait (with `retry_after` in seconds where known), and Permanent when a
        person has to look; either way what was finished stays finished.
        """
