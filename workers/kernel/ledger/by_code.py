"""The journal by code: what became of the records of each code, for tables and alerts."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from workers.kernel.ledger.journal import Bucket, Tally
from workers.kernel.ledger.queries import EntryRow

BY_CODE = "by_code"
"""Key in an entry's detail: `{code: {"records": n, "quantity": decimal text}}`."""

ByCode = dict[str, dict[Bucket, Tally]]
DECIDED = tuple(bucket for bucket in Bucket if bucket is not Bucket.PENDING)


def detail_of(tallies: Mapping[str, Tally]) -> dict[str, dict[str, object]]:
    """Return tallies by code in the form that an entry's detail carries."""
    return {code: {"records": t.records, "quantity": format(t.quantity, "f")} for code, t in tallies.items()}


def by_code(entries: Iterable[EntryRow]) -> ByCode:
    """Fold a journal into code -> bucket -> tally. Pending records have no code yet and are left out."""
    codes: ByCode = {}
    for entry in entries:
        for code, counts in entry.detail.get(BY_CODE, {}).items():
            moved = Tally(counts["records"], Decimal(counts["quantity"]))
            buckets = codes.setdefault(code, {})
            for bucket, change in ((entry.from_bucket, -moved), (entry.to_bucket, moved)):
                if bucket in DECIDED:
                    buckets[Bucket(bucket)] = buckets.get(Bucket(bucket), Tally()) + change
    return codes


def merged(parts: Iterable[ByCode]) -> ByCode:
    """Add the breakdowns of several cases."""
    total: ByCode = {}
    for part in parts:
        for code, buckets in part.items():
            into = total.setdefault(code, {})
            for bucket, tally in buckets.items():
                into[bucket] = into.get(bucket, Tally()) + tally
    return total


def decided(buckets: Mapping[Bucket, Tally]) -> Tally:
    """Return the sum of a code's buckets: every record of it that was decided at least once."""
    return sum(buckets.values(), Tally())
