"""What the operator should do next about a case: one sentence for each state."""

from collections.abc import Mapping

from workers.kernel.ledger.case import Case, CaseState
from workers.kernel.ledger.journal import Bucket

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


def next_step(case: Case) -> str:
    """Return the advice for a case; a case that nobody will take up again by itself comes first."""
    if case.trouble and case.due_at is None:
        return STUCK.format(trouble=case.trouble)
    return NEXT_STEP[case.state].format(
        id=case.id,
        quarantined=case.balance[Bucket.QUARANTINED].records,
        failed=case.balance.failed.records,
    )
