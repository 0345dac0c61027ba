"""What the operator should do next about a case: a sentence for its state, and one for each reason in it."""

from collections import Counter
from collections.abc import Mapping, Sequence

from workers.kernel.ledger.case import Case, CaseState
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.reasons import REASONS, Reason

NEXT_STEP: Mapping[CaseState, str] = {
    CaseState.OPEN: "Nothing to do: the refused records are being found and judged.",
    CaseState.PLANNED: (
        "Repaired records wait to be submitted. If this lasts, check that SUBMIT_TO is set: run `metermend doctor`."
    ),
    CaseState.AWAITING: "Nothing to do: corrected records were submitted, and Stripe's verdict is awaited.",
    CaseState.NEEDS_PERSON: (
        "{quarantined} of {failed} records cannot be repaired without guessing. Run `metermend quarantine {id}` "
        "to read them with their reasons, mend the cause or write a rule, then `metermend retry {id}`. What may be "
        "billed already stays, unless you add `--include-uncertain --approve NAME`."
    ),
    CaseState.DEFERRED: "Nothing to do: the records become valid later and are taken up again by themselves.",
    CaseState.SETTLED: "Nothing to do: every record is confirmed, corrected or written off.",
}

STUCK = "Work on this case has stopped: {trouble}. Mend the cause; `metermend doctor` checks the settings."

OF_THE_RECORD = Reason(
    "Stripe's code says it, and nothing could be repaired without guessing.",
    "The suggestion of each record says what would help: read it with the command above.",
)
"""What is said of a code of Stripe's: the words for each are the workers', whose modules no web process loads."""


def reasons_of(entries: Sequence[EntryRow]) -> dict[str, Reason]:
    """Return why records of the case wait for a person, by the slug of the reason, the most frequent first."""
    counts: Counter[str] = Counter()
    for entry in entries:
        if entry.to_bucket == Bucket.QUARANTINED:
            counts.update(entry.detail.get("reasons", {}))
        if entry.from_bucket == Bucket.QUARANTINED:
            counts.subtract(entry.detail.get("reasons", {}))
    return {slug: REASONS.get(slug, OF_THE_RECORD) for slug, records in counts.most_common() if records > 0}


UNCONFIRMED = (
    "{records} records were sent and are unconfirmed: Stripe's totals have not grown by them. Compare with its "
    "summaries; they are looked for again by themselves, and must not be sent a second time."
)


def next_step(case: Case, unconfirmed: int = 0) -> str:
    """Return the advice for a case; a case that nobody will take up again by itself comes first."""
    if case.trouble and case.due_at is None:
        return STUCK.format(trouble=case.trouble)
    if case.state is CaseState.AWAITING and unconfirmed:
        return UNCONFIRMED.format(records=unconfirmed)
    return NEXT_STEP[case.state].format(
        id=case.id,
        quarantined=case.balance[Bucket.QUARANTINED].records,
        failed=case.balance.failed.records,
    )
