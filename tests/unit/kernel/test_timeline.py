"""If these fail, whoever reads what happened to a case has to read it twice."""

from datetime import UTC, datetime
from typing import Any

import pytest

from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.timeline import sentence_of


def entry(kind: EntryKind, records: int, to_bucket: Bucket, **detail: Any) -> EntryRow:
    at = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    return EntryRow(1, kind, None, to_bucket, records, "1", 1, None, None, None, None, "metermend", detail, at)


@pytest.mark.parametrize(
    ("kind", "bucket", "of_one", "of_many"),
    [
        (EntryKind.SENT, Bucket.SUBMITTED, "1 record was sent to Stripe", "2 records were sent to Stripe"),
        (EntryKind.LOCATED, Bucket.PENDING,
         "1 record that was only counted was found in the usage files",
         "2 records that were only counted were found in the usage files"),
        (EntryKind.QUARANTINED, Bucket.QUARANTINED,
         "1 record waits for a person: who are they (1)", "2 records wait for a person: who are they (1)"),
        (EntryKind.CONFIRMED, Bucket.CONFIRMED,
         "1 record is confirmed: Stripe's totals have grown by it",
         "2 records are confirmed: Stripe's totals have grown by them"),
    ],
)  # fmt: skip
def test_one_record_is_told_as_one(kind: EntryKind, bucket: Bucket, of_one: str, of_many: str) -> None:
    detail = {"reasons": {"who_are_they": 1}, "by": "summaries"}
    assert sentence_of(entry(kind, 1, bucket, **detail)) == of_one
    assert sentence_of(entry(kind, 2, bucket, **detail)) == of_many
