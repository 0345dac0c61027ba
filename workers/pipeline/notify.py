"""Telling a person what became of a case, once for each change that he would act on."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final

import polars as pl

from workers.alerts import CodeCount, NextStep, Notice, ReasonCount, Trouble
from workers.kernel.clock import from_epoch
from workers.kernel.errors import Permanent, Transient
from workers.kernel.ledger.by_code import by_code, decided
from workers.kernel.ledger.case import Case, CaseState
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import Bucket, Tally
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.logs import get_logger
from workers.pipeline.case_key import AUDIT
from workers.pipeline.context import Context
from workers.pipeline.record_sets import COUNTED_AS, records_in, standing, unlocated
from workers.records.schema import MAX_AGE, REASON, SUGGESTION, TIMESTAMP

log = get_logger(__name__)

TOP_REASONS: Final = 5
REPAIRED: Final = (Bucket.PLANNED, Bucket.SUBMITTED, Bucket.CONFIRMED)


def tell(context: Context, held: HeldCase) -> str | None:
    """Post the case's notice if it would say something new; return what is to be remembered of it, else None.

    Raises Transient while the channel is away.
    """
    meaning = _meaning(held.case)
    if meaning == held.case.alerted or not _worth_telling(context, held.case):
        return None
    try:
        context.alerts.post(notice_of(context, held))
    except Permanent as error:
        log.error("alert_refused", case_id=held.case.id, error=str(error))
    return meaning


def trouble(context: Context, subject: str, headline: str, detail: str, step: NextStep | None = None) -> None:
    """Tell of something that keeps metermend from working; a channel that is away does not hide it from the log."""
    log.error("trouble", subject=subject, headline=headline, detail=detail)
    try:
        context.alerts.post(Trouble(subject, headline, detail, next_step=step))
    except (Transient, Permanent) as error:
        log.error("alert_failed", subject=subject, error=str(error))


def _worth_telling(context: Context, case: Case) -> bool:
    """Tell of a case that has something for a person at once, and of every case when it has come to rest."""
    balance = case.balance
    stuck = context.target_of(case.failure.account) is None and balance[Bucket.PLANNED].records > 0
    waiting = balance[Bucket.QUARANTINED].records + balance[Bucket.DEFERRED].records > 0
    return balance.failed.records > 0 and (stuck or waiting or balance.in_flight.records == 0)


def _meaning(case: Case) -> str:
    """Name what a reader would act on: how many were refused, wait for him, and wait for their time."""
    balance = case.balance
    counts = (balance.failed, balance[Bucket.QUARANTINED], balance[Bucket.DEFERRED])
    return sha256(repr([tally.records for tally in counts]).encode()).hexdigest()[:16]


def notice_of(context: Context, held: HeldCase) -> Notice:
    """Return all that is worth saying of a case."""
    case, journal = held.case, held.journal
    oldest = _oldest_unsettled(context, journal)
    return Notice(
        case_id=case.id,
        headline=headline_of(case),
        livemode=case.failure.livemode,
        account=case.failure.account,
        codes=list(_codes(journal)),
        reasons=_reasons(context, held),
        oldest_usage=oldest,
        deadline=oldest + MAX_AGE if oldest else None,
        next_step=_next_step(context, case),
        files=_files(context, held),
    )


def headline_of(case: Case) -> str:
    """Return the case in one line: what failed, and how it stands."""
    balance = case.balance
    failed = balance.failed.records
    parts = [
        f"{balance[bucket].records:,} {word}"
        for bucket, word in (
            (Bucket.CONFIRMED, "recovered"),
            (Bucket.SUBMITTED, "resubmitted"),
            (Bucket.PLANNED, "repaired"),
            (Bucket.DEFERRED, "deferred"),
            (Bucket.QUARANTINED, "need a person"),
        )
        if balance[bucket].records
    ]
    return f"{case.failure.summary}: {failed:,} refused, {', '.join(parts) or 'nothing decided yet'}"


def _codes(journal: Sequence[EntryRow]) -> Iterator[CodeCount]:
    breakdown = by_code(journal)
    for code, buckets in sorted(breakdown.items()):
        yield CodeCount(
            code,
            refused=decided(buckets),
            repaired=sum((buckets.get(bucket, Tally()) for bucket in REPAIRED), Tally()),
            confirmed=buckets.get(Bucket.CONFIRMED, Tally()),
            deferred=buckets.get(Bucket.DEFERRED, Tally()),
            quarantined=buckets.get(Bucket.QUARANTINED, Tally()),
        )


def _reasons(context: Context, held: HeldCase) -> Sequence[ReasonCount]:
    quarantined = records_in(context, held.journal, Bucket.QUARANTINED)
    found = [] if quarantined is None else _grouped(quarantined)
    unlocated = _unlocated(held.case, held.journal)
    return [*found, *unlocated][: TOP_REASONS + len(unlocated)]


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


def _oldest_unsettled(context: Context, journal: Sequence[EntryRow]) -> datetime | None:
    times = []
    for bucket in (Bucket.QUARANTINED, Bucket.DEFERRED, Bucket.PLANNED):
        records = records_in(context, journal, bucket)
        if records is not None:
            times.append(records.select(pl.col(TIMESTAMP).cast(pl.Int64, strict=False).min()).collect().item())
    plausible = [time for time in times if time is not None and 0 < time <= context.clock().timestamp()]
    return from_epoch(min(plausible)) if plausible else None


def _next_step(context: Context, case: Case) -> NextStep | None:
    base = context.settings.console_url
    link = f"{base.rstrip('/')}/console/cases/{case.id}" if base else None
    if case.failure.kind == AUDIT:
        day, name = (case.failure.window_start or "")[:10], case.failure.event_name
        sentence = (
            "Compare the customer's day in Stripe with your own records, and bill or take back the difference."
        )
        return NextStep(sentence, f"metermend audit --since {day} --meter {name}", link)
    if case.balance[Bucket.QUARANTINED].records:
        sentence = (
            f"Read the quarantined records (`metermend quarantine {case.id}`), mend their cause or add a rule, "
            "then plan them again."
        )
        return NextStep(sentence, f"metermend retry {case.id}", link)
    account = case.failure.account
    if case.balance[Bucket.PLANNED].records and context.target_of(account) is None:
        what = f"Name a place for {account} in SUBMIT_TO" if account else "Set SUBMIT_TO"
        return NextStep(f"{what} so that the repaired records can be sent.", "metermend doctor", link)
    if case.state is CaseState.SETTLED:
        return NextStep("Nothing to do.", f"metermend prove {case.id}", link)
    return None


def _files(context: Context, held: HeldCase) -> dict[str, str]:
    sent = {f"corrected {s.id}": s.location for s in held.submissions if s.location}
    there = standing(held.journal, Bucket.QUARANTINED)
    kept = {
        "quarantined" if n == 1 else f"quarantined {n}": context.archive.location(one.records)
        for n, one in enumerate(there, 1)
    }
    return {**sent, **kept}
