"""What lists of cases show of one: quantities by meter, when the oldest is too old, and names in its records."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

import polars as pl

from workers.kernel.clock import from_epoch
from workers.kernel.ledger.appraisal import MOST_PAYERS, Appraisal
from workers.kernel.ledger.appraisals import OpenUsage, value_of
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.case_facts import (
    LONGEST_NAME,
    MOST_NAMES,
    ByMeter,
    CaseFacts,
    NameKind,
    confirmed_since,
    sole_meter,
)
from workers.kernel.ledger.case_facts import by_meter as kept_by_meter
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import Bucket, EntryKind, Tally
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.money import NO_MONEY, Money, share
from workers.pipeline.context import Context, Stores
from workers.pipeline.record_sets import FINDING, records_in, scan
from workers.pipeline.standings import standings
from workers.records import quantities
from workers.records.schema import CUSTOMER, EVENT_NAME, MAX_AGE, QUANTITY, SOURCE, TIMESTAMP, with_columns_of

MOST_METERS: Final = 20
"""Meters of one case that are told apart; of the others the records are counted."""
_COLUMNS: Final = {NameKind.CUSTOMER: CUSTOMER, NameKind.FILE: SOURCE, NameKind.METER: EVENT_NAME}
_NAMING: Final = (*FINDING, EntryKind.PLANNED)
"""Entries whose records bring names: as the sender wrote them, and as they were repaired."""
_UNSETTLED: Final = (Bucket.QUARANTINED, Bucket.DEFERRED, Bucket.PLANNED)


def open_usage(context: Context, case: Case, journal: Sequence[EntryRow]) -> OpenUsage:
    """Return what of a case is to be appraised. Raises as the archive does."""
    unsettled = list(_unsettled(context, journal))
    too_old_at = _too_old_at(unsettled, context.clock())
    return OpenUsage(by_meter(context, case, journal), too_old_at, _payers(unsettled))


def facts_of(context: Context, held: HeldCase) -> tuple[CaseFacts, Appraisal]:
    """Return what is to be kept of a held case; Stripe is not asked for it. Raises as the archive does."""
    usage, account = open_usage(context, held.case, held.journal), held.case.failure.account
    # Nothing was kept of a case that an earlier release has worked on: what it confirmed is nobody's news.
    known = held.case.meters is not None
    grown = confirmed_since(kept_by_meter(held.case.meters), usage.by_meter) if known else {}
    prices = context.ledger.appraisals.prices(account, grown)
    taken_off = _taken_off(context, held.case.id, {n: tally for n, tally in grown.items() if tally.records <= 0})
    facts = CaseFacts(
        by_meter=usage.by_meter,
        names=_names(context, held),
        named=held.case.version,
        standings=standings(context, held.case, held.journal),
        recovered={
            name: (tally, value_of(tally, prices.get(name)) if tally.records > 0 else taken_off.get(name, NO_MONEY))
            for name, tally in grown.items()
        },
    )
    return facts, context.ledger.appraisals.of(account, usage, context.invoice_grace)


def _taken_off(context: Context, case_id: str, taken: Mapping[str, Tally]) -> Mapping[str, Money]:
    """Return what is recovered no more of each meter: its part of what stands as recovered of the case."""
    there = context.ledger.money.recovered_of(case_id) if taken else {}
    found: dict[str, Money] = {}
    for name, tally in taken.items():
        whole = there[name].by_meter[name] if name in there else Tally()
        if whole.quantity:
            found[name] = share(there[name].money, tally.quantity, whole.quantity)
        elif whole.records:
            found[name] = share(there[name].money, Decimal(tally.records), Decimal(whole.records))
    return found


def _payers(unsettled: Sequence[pl.LazyFrame]) -> list[str]:
    """Return the customers with usage that is not settled, the largest quantity first."""
    columns = CUSTOMER, QUANTITY
    there = [with_columns_of(records, columns).select(columns) for records in unsettled]
    if not there:
        return []
    size = pl.col(QUANTITY).cast(pl.Float64, strict=False).abs().sum()  # for the order only
    return (
        pl.concat(there)
        .with_columns(pl.col(CUSTOMER).str.strip_chars())
        .filter(pl.col(CUSTOMER).str.len_chars().is_between(1, LONGEST_NAME))
        .filter(~pl.col(CUSTOMER).str.contains("\0", literal=True))
        .group_by(CUSTOMER)
        .agg(size.alias("size"))
        .sort("size", CUSTOMER, descending=[True, False])
        .head(MOST_PAYERS)
        .collect()[CUSTOMER]
        .to_list()
    )


def by_meter(stores: Stores, case: Case, journal: Sequence[EntryRow]) -> ByMeter:
    """Return what stands in each bucket of a case, by meter: nothing where retention has removed its records."""
    sole = sole_meter(case)
    if sole is not None:
        return sole
    if any(entry.kind == EntryKind.REMOVED for entry in journal):
        return {}
    meters: dict[str, dict[Bucket, Tally]] = {}
    for bucket in filter(lambda bucket: case.balance[bucket].records, Bucket):
        records = records_in(stores, journal, bucket)
        found = {} if records is None else _tallies(records)
        located = sum(tally.records for tally in found.values())
        found[""] = found.get("", Tally()) + Tally(case.balance[bucket].records - located)
        for name, tally in found.items():
            if tally.records:
                meters.setdefault(name, {})[bucket] = tally
    return meters


def _tallies(records: pl.LazyFrame) -> dict[str, Tally]:
    """Count records and sum their quantities by event name; of the rarer names' records only the count is told."""
    frame = with_columns_of(records, (EVENT_NAME, QUANTITY)).select(EVENT_NAME, QUANTITY).collect()
    counts = frame.drop_nulls(EVENT_NAME)[EVENT_NAME].value_counts(sort=True).head(MOST_METERS)
    common = frame.join(counts.select(EVENT_NAME), on=EVENT_NAME, how="semi")
    parts = common.partition_by(EVENT_NAME, as_dict=True, maintain_order=True).items()
    found = {str(key[0]): Tally(part.height, quantities.total(part[QUANTITY])) for key, part in parts}
    return {**found, "": Tally(frame.height - common.height)}


def deadline_of(stores: Stores, journal: Sequence[EntryRow], now: datetime) -> datetime | None:
    """Return when the oldest usage that is not settled becomes too old to bill; where all is, when the last did.

    So a record that is lost hides no other that can still be saved.
    """
    return _too_old_at(list(_unsettled(stores, journal)), now)


def _too_old_at(unsettled: Sequence[pl.LazyFrame], now: datetime) -> datetime | None:
    time = pl.col(TIMESTAMP).cast(pl.Int64, strict=False)
    known = time.is_between(1, int(now.timestamp()))
    saved = known & (time > int((now - MAX_AGE).timestamp()))
    ends = time.filter(saved).min().alias("first"), time.filter(known).max().alias("last")
    found = [records.select(ends).collect().row(0) for records in unsettled]
    first = min((first for first, _ in found if first is not None), default=None)
    last = max((last for _, last in found if last is not None), default=None)
    at_stake = last if first is None else first
    return None if at_stake is None else from_epoch(at_stake) + MAX_AGE


def oldest_unsettled(stores: Stores, journal: Sequence[EntryRow], now: datetime) -> datetime | None:
    """Return the time of the oldest usage that is not settled; one that cannot be read, or lies ahead, is none."""
    earliest = pl.col(TIMESTAMP).cast(pl.Int64, strict=False).min()
    times = [records.select(earliest).collect().item() for records in _unsettled(stores, journal)]
    plausible = [time for time in times if time is not None and 0 < time <= now.timestamp()]
    return from_epoch(min(plausible)) if plausible else None


def _unsettled(stores: Stores, journal: Sequence[EntryRow]) -> Iterator[pl.LazyFrame]:
    for bucket in _UNSETTLED:
        records = records_in(stores, journal, bucket)
        if records is not None:
            yield records


def _names(context: Context, held: HeldCase) -> Mapping[NameKind, set[str]]:
    """Return the names that have come into the journal since they were last kept."""
    names: dict[NameKind, set[str]] = {kind: set() for kind in NameKind}
    failure = held.case.failure
    names[NameKind.METER] |= {name for name in (failure.event_name, failure.meter_id) if name}
    for records in _naming(context, held):
        for kind, column in _COLUMNS.items():
            found = records.select(
                pl.col(column).str.strip_chars().drop_nulls().unique().sort().head(MOST_NAMES + 1)
            )
            names[kind] |= set(found.collect().to_series())
    return names


def _naming(context: Context, held: HeldCase) -> Iterator[pl.LazyFrame]:
    removed = max((entry.number for entry in held.journal if entry.kind == EntryKind.REMOVED), default=0)
    for entry in held.journal:
        if entry.kind in _NAMING and entry.ref is not None and entry.number > max(held.case.named, removed):
            yield with_columns_of(scan(context, entry.ref), tuple(_COLUMNS.values()))
