"""What an act is: its effect before it is done, and what it does."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol

from workers.kernel.ledger.acts import Act
from workers.kernel.ledger.hash_chain import digest
from workers.pipeline.context import Context

MOST_EXAMPLES: Final = 20


@dataclass(frozen=True)
class Example:
    """One record before and after: the sender's columns that matter, as text."""

    case_id: str
    record: int
    identifier: str | None
    before: Mapping[str, str | None]
    after: Mapping[str, str | None]
    note: str = ""


@dataclass(frozen=True)
class Effect:
    """What an act would do.

    `quantities` are decimal text by event name; `cases` has the version of each case that it was looked at in.
    `basis` is what else it rests on. `warnings` are for whoever approves.
    """

    summary: str
    records: int
    quantities: Mapping[str, str] = field(default_factory=dict)
    cases: Mapping[str, int] = field(default_factory=dict)
    examples: Sequence[Example] = ()
    warnings: Sequence[str] = ()
    basis: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def fingerprint(self) -> str:
        """Stands for what was shown: with another one, something else would be done."""
        return digest(self.to_json())


class Order(Protocol):
    """One kind of act, with its arguments."""

    def effect(self, context: Context) -> Effect:
        """Return what it would do now. Raises InputUnusable where it can do nothing, Transient."""

    def carry_out(self, context: Context, act: Act) -> Mapping[str, Any]:
        """Do it; what an earlier try has done is not done twice. Return the outcome as plain JSON.

        Raises Conflict while a worker holds a case of it.
        """

    def require_open(self, context: Context, act: Act) -> None:
        """Raise InputUnusable where it is too late to take it back."""

    def take_back(self, context: Context, act: Act, by: str) -> Mapping[str, Any]:
        """Undo what it did, as long as nothing of it was sent. Raises InputUnusable where it is too late."""
