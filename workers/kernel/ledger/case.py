"""What a case is: the failure it stands for, its state, and what the ledger holds of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from workers.kernel.ledger.hash_chain import plain
from workers.kernel.ledger.journal import Balance, Bucket

VALIDATION_REPORT: Final = "validation_report"
"""The kind of failure of well-formed records that were refused for their data; Stripe tells a count and samples."""


class CaseState(StrEnum):
    """Where a case stands, told from its balance: the first that applies."""

    OPEN = "open"
    PLANNED = "planned"
    AWAITING = "awaiting_confirmation"
    NEEDS_PERSON = "needs_person"
    DEFERRED = "deferred"
    SETTLED = "settled"


def state_of(balance: Balance) -> CaseState:
    """Tell a case's state from what stands in its buckets."""
    order = (
        (Bucket.PENDING, CaseState.OPEN),
        (Bucket.PLANNED, CaseState.PLANNED),
        (Bucket.SUBMITTED, CaseState.AWAITING),
        (Bucket.QUARANTINED, CaseState.NEEDS_PERSON),
        (Bucket.DEFERRED, CaseState.DEFERRED),
    )
    return next((state for bucket, state in order if balance[bucket].records), CaseState.SETTLED)


@dataclass(frozen=True)
class Failure:
    """What a case is about. `key` names the failure itself, so that every notice of it leads to one case."""

    key: str
    kind: str
    livemode: bool
    summary: str
    account: str | None = None
    code: str | None = None
    meter_id: str | None = None
    event_name: str | None = None
    import_set_id: str | None = None
    window_start: str | None = None
    window_end: str | None = None

    @property
    def case_id(self) -> str:
        """The case's id, the same for the same key for ever."""
        return f"case_{sha256(self.key.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Case:
    """A case as the ledger holds it.

    From `size` to `named` it is as `CaseFacts.columns` makes it; the others as `Appraisal.columns` does.
    """

    id: str
    failure: Failure
    state: CaseState
    version: int
    head: str
    balance: Balance
    due_at: datetime | None
    attempts: int
    deaths: int
    trouble: str | None
    alerted: str | None
    opened_at: datetime
    changed_at: datetime
    deadline: datetime | None = None
    size: str = ""
    meters: Mapping[str, Any] | None = None
    named: int = 0
    too_old_at: datetime | None = None
    invoice_at: datetime | None = None
    payers: Sequence[str] | None = None
    at_risk: Mapping[str, Any] | None = None
    lacks: Sequence[str] | None = None
    urgent_at: datetime | None = None
    appraise_at: datetime | None = None


def case_of(row: Any) -> Case:
    """Build a Case from a row of the cases table."""
    failure = Failure(**{name: row[name] for name in Failure.__dataclass_fields__})
    read: dict[str, Any] = {
        "failure": failure,
        "state": CaseState(row["state"]),
        "balance": Balance.from_json(row["balance"]),
    }
    return Case(**{name: read[name] if name in read else row[name] for name in Case.__dataclass_fields__})


def facts_of(case: Case) -> dict[str, Any]:
    """Return what is known of a case itself, by column, as the JSON that the chain covers."""
    return plain({**asdict(case.failure), "opened_at": case.opened_at})
