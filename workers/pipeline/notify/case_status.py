"""How a case stands, as the messages about its incident need it: written down whenever that has changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, Self

import polars as pl

from workers.alerts import ReasonCount
from workers.kernel.case_title import title_of
from workers.kernel.clock import from_text, to_text
from workers.kernel.ledger.by_code import ByCode, by_code, detail_of
from workers.kernel.ledger.case import Case, CaseState, state_of
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import WAITING, Balance, Bucket, Tally
from workers.kernel.ledger.only_counted import unlocated
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.unconfirmed import UNCONFIRMED, unconfirmed
from workers.kernel.releases import known_fields
from workers.pipeline.case_facts import oldest_unsettled
from workers.pipeline.context import Context
from workers.pipeline.notify.cause import cause_of
from workers.pipeline.record_sets import COUNTED_AS, records_in
from workers.records.schema import REASON, SUGGESTION

SUBMIT_TO: Final = "SUBMIT_TO"
"""What a person is asked for where repaired records cannot be sent; else he is asked by reasons."""


@dataclass(frozen=True)
class CaseStatus:
    """How a case stands. `oldest` is the time of its oldest usage that is not settled, as in a Notice.

    `unsent`: it has repaired records, and there is no place to send them to. `files` is label -> place.
    `unconfirmed` counts records whose arrival has not shown by its deadline. `title` is empty where it was written
    down by an earlier release.
    """

    case_id: str
    summary: str
    balance: Balance
    by_code: ByCode
    reasons: Sequence[ReasonCount]
    oldest: datetime | None
    unsent: bool
    files: Mapping[str, str]
    unconfirmed: int = 0
    title: str = ""

    @property
    def settled(self) -> bool:
        return state_of(self.balance) is CaseState.SETTLED

    @property
    def worth_telling(self) -> bool:
        """Whether it has something for a person, or has come to rest."""
        waiting = any(self.balance[bucket].records for bucket in WAITING)
        return self.unsent or self.unconfirmed > 0 or waiting or self.balance.in_flight.records == 0

    @property
    def demands(self) -> frozenset[str]:
        """What a person must do: the reasons for which records wait for him, SUBMIT_TO, and what is unconfirmed."""
        others = {SUBMIT_TO: self.unsent, UNCONFIRMED: self.unconfirmed}
        return frozenset({*(reason.reason for reason in self.reasons), *(name for name in others if others[name])})

    def to_json(self) -> dict[str, Any]:
        return {
            "case_id": self.case_id,
            "summary": self.summary,
            "balance": self.balance.to_json(),
            "by_code": {code: _tallies(buckets) for code, buckets in self.by_code.items()},
            "reasons": [[one.code, one.reason, one.records, one.suggestion] for one in self.reasons],
            "oldest": to_text(self.oldest) if self.oldest else None,
            "unsent": self.unsent,
            "files": dict(self.files),
            "unconfirmed": self.unconfirmed,
            "title": self.title,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        read = {
            "balance": Balance.from_json(data["balance"]),
            "by_code": {code: _buckets(tallies) for code, tallies in data["by_code"].items()},
            "reasons": [ReasonCount(*one) for one in data["reasons"]],
            "oldest": from_text(data["oldest"]) if data["oldest"] else None,
        }
        return cls(**{**known_fields(cls, data), **read})


def _tallies(buckets: Mapping[Bucket, Tally]) -> Mapping[str, Any]:
    return detail_of({bucket.value: tally for bucket, tally in buckets.items()})


def _buckets(tallies: Mapping[str, Any]) -> dict[Bucket, Tally]:
    """Return what `_tallies` made JSON of."""
    return {Bucket(name): Balance.from_json({"failed": tally}).failed for name, tally in tallies.items()}


def tell(context: Context, held: HeldCase) -> str | None:
    """Write down how a case stands where that changed; return what is to be remembered of it, else None.

    A crash before that is remembered writes it down again. Raises LedgerUnavailable.
    """
    meaning = _meaning(context, held)
    if meaning == held.case.alerted or not held.case.balance.failed.records:
        return None
    gap = timedelta(seconds=context.settings.incident_gap)
    context.ledger.incidents.note(held.case, cause_of(held.case.failure), status_of(context, held).to_json(), gap)
    return meaning


def _meaning(context: Context, held: HeldCase) -> str:
    """Name what would be told differently: the counts, what waits for a person, and whether it can be sent."""
    balance = held.case.balance
    counts = [balance.failed.records, *(balance[bucket].records for bucket in Bucket)]
    moved = (entry.number for entry in held.journal if {entry.from_bucket, entry.to_bucket} & set(WAITING))
    told: tuple[object, ...] = (counts, max(moved, default=0), _is_unsent(context, held.case))
    overdue = unconfirmed(held.journal)
    told = (*told, overdue) if overdue else told
    return sha256(repr(told).encode()).hexdigest()[:16]


def status_of(context: Context, held: HeldCase) -> CaseStatus:
    """Return how a held case stands."""
    return CaseStatus(
        case_id=held.case.id,
        summary=held.case.failure.summary,
        balance=held.case.balance,
        by_code=by_code(held.journal),
        reasons=_reasons(context, held),
        oldest=oldest_unsettled(context, held.journal, context.clock()),
        unsent=_is_unsent(context, held.case),
        files=_files(held),
        unconfirmed=unconfirmed(held.journal),
        title=title_of(held.case, context.clock()),
    )


def _is_unsent(context: Context, case: Case) -> bool:
    return case.balance[Bucket.PLANNED].records > 0 and context.target_of(case.failure.account) is None


def _reasons(context: Context, held: HeldCase) -> Sequence[ReasonCount]:
    quarantined = records_in(context, held.journal, Bucket.QUARANTINED)
    found = [] if quarantined is None else _grouped(quarantined)
    return [*found, *_unlocated(held.case, held.journal)]


def _grouped(quarantined: pl.LazyFrame) -> list[ReasonCount]:
    groups = (
        quarantined.group_by(COUNTED_AS, REASON)
        .agg(pl.len().alias("records"), pl.col(SUGGESTION).drop_nulls().first())
        .sort("records", COUNTED_AS, REASON, descending=[True, False, False])
        .collect()
    )
    return [
        ReasonCount(row[COUNTED_AS], row[REASON] or "", row["records"], row[SUGGESTION])
        for row in groups.iter_rows(named=True)
    ]


def _unlocated(case: Case, entries: Sequence[EntryRow]) -> list[ReasonCount]:
    """Return the records that Stripe counts but that nobody has shown us."""
    advice = {reason: text for entry in entries for reason, text in entry.detail.get("suggestions", {}).items()}
    return [
        ReasonCount(case.failure.code or "", reason, count, advice[reason])
        for reason, count in unlocated(entries).items()
    ]


def _files(held: HeldCase) -> dict[str, str]:
    """Return where the corrected records were put: what is in the archive, nobody can open."""
    places = [submission.location for submission in held.submissions if submission.location]
    return {"Sent" if n == 1 else f"Sent {n}": place for n, place in enumerate(places, 1)}
