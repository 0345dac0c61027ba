"""What became of refused usage in a span of time, and what waits at its end: for the digest that people get."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import or_, select

from workers.kernel.ledger.appraisal import at_risk
from workers.kernel.ledger.case import Case, CaseState, case_of
from workers.kernel.ledger.case_facts import added_by_meter, meters_of, total_of
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.journal import Bucket, Tally
from workers.kernel.ledger.tables import cases, entries
from workers.kernel.money import Money, added


@dataclass(frozen=True)
class Usage:
    """Records of some cases. `by_meter` is event name -> what is of it; `""` has what is of no known meter."""

    cases: int = 0
    by_meter: Mapping[str, Tally] = field(default_factory=dict)

    @property
    def records(self) -> int:
        return sum(tally.records for tally in self.by_meter.values())


@dataclass(frozen=True)
class Waits:
    """What waits for a person. `oldest` is when its first case was opened, `deadline` the nearest one to come."""

    usage: Usage = field(default_factory=Usage)
    money: Money = field(default_factory=dict)
    oldest: datetime | None = None
    deadline: datetime | None = None


def refused_since(database: Database, since: datetime) -> Usage:
    """Return what Stripe was found to have refused from a moment on. Raises LedgerUnavailable."""
    return _moved(database, since, None)


def written_off_since(database: Database, since: datetime) -> Usage:
    """Return what was let go unbilled from a moment on, less what was taken back. Raises LedgerUnavailable."""
    return _moved(database, since, Bucket.WRITTEN_OFF)


def waits_at(database: Database, now: datetime) -> Waits:
    """Return what waits for a person at present. Raises LedgerUnavailable."""
    waiting = cases.c.balance[(Bucket.QUARANTINED.value, "records")].as_string() != "0"
    query = select(cases).where(cases.c.state != CaseState.SETTLED, waiting)
    found = list(map(case_of, database.rows(query)))
    return Waits(
        usage=_usage(((case, case.balance[Bucket.QUARANTINED]) for case in found), Bucket.QUARANTINED),
        money=added(map(at_risk, found)),
        oldest=min((case.opened_at for case in found), default=None),
        deadline=min((case.deadline for case in found if case.deadline and case.deadline > now), default=None),
    )


def _moved(database: Database, since: datetime, bucket: Bucket | None) -> Usage:
    """Return what has come into a bucket, less what has left it; None stands for all of a case."""
    into = entries.c.from_bucket.is_(None) & entries.c.to_bucket.is_not(None)
    of_bucket = or_(entries.c.to_bucket == bucket, entries.c.from_bucket == bucket)
    lately = entries.c.at >= since, into if bucket is None else of_bucket
    columns = entries.c.case_id, entries.c.from_bucket, entries.c.records, entries.c.quantity
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    for row in database.rows(select(*columns).where(*lately)):
        tally = Tally(row["records"], row["quantity"])
        tallies[row["case_id"]] += -tally if bucket and row["from_bucket"] == bucket else tally
    theirs = select(cases).where(cases.c.id.in_(select(entries.c.case_id).where(*lately)))
    return _usage(((case, tallies[case.id]) for case in map(case_of, database.rows(theirs))), bucket)


def _usage(found: Iterable[tuple[Case, Tally]], bucket: Bucket | None) -> Usage:
    """Add up what is of each case, by meter where what is kept of the case adds up to it, or is of one meter."""
    parts: list[tuple[str, Tally]] = []
    of_cases = 0
    for case, tally in found:
        kept = {
            name: buckets.get(bucket, Tally()) if bucket else total_of(buckets)
            for name, buckets in meters_of(case).items()
        }
        adds_up = sum(kept.values(), Tally()).records == tally.records
        parts += (kept if adds_up else {next(iter(kept)) if len(kept) == 1 else "": tally}).items()
        of_cases += tally.records > 0
    return Usage(of_cases, {name: tally for name, tally in added_by_meter(parts).items() if tally.records})
