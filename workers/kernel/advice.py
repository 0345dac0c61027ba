"""What a person should do next about a case, with the exact commands; the same in the terminal and the console."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from workers.kernel.code_reasons import CODE_REASONS
from workers.kernel.codes import Code
from workers.kernel.ledger.by_code import BY_CODE
from workers.kernel.ledger.case import Case, CaseState
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.only_counted import unlocated
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.submissions import Submission, SubmissionState
from workers.kernel.places import DASHBOARD
from workers.kernel.reasons import REASONS, UNCERTAIN, Reason

NEXT_STEP: Mapping[CaseState, str] = {
    CaseState.OPEN: "Nothing to do: the refused records are being found and judged.",
    CaseState.PLANNED: (
        "Repaired records wait to be submitted. If this lasts, check that SUBMIT_TO is set: run `metermend doctor`."
        " Where people upload in the Dashboard, somebody has to take the next part: `metermend parts`."
    ),
    CaseState.AWAITING: "Nothing to do: corrected records were submitted, and Stripe's verdict is awaited.",
    CaseState.NEEDS_PERSON: (
        "{quarantined} of {failed} records cannot be repaired without guessing. Run `metermend quarantine {id}` "
        "to read them with their reasons, then mend them: by a rule, or one by one. What was mended elsewhere, "
        "such as a customer that exists by now, goes with `metermend retry {id}`. "
        "What may be billed already stays until somebody who has looked in Stripe lets it go."
    ),
    CaseState.DEFERRED: "Nothing to do: the records become valid later and are sent by themselves then.",
    CaseState.SETTLED: "Nothing to do: every record is confirmed, corrected or written off.",
}

ONLY_COUNTED = (
    "{quarantined} of {failed} records are only counted by Stripe: no row of them is known. Name every place that "
    "your usage lies in under USAGE_SOURCES, then `metermend retry {id}` looks for them again."
)

STUCK = "Work on this case has stopped: {trouble}. Mend the cause; `metermend doctor` checks the settings."

UNCONFIRMED = (
    "{records} records were sent and are unconfirmed: Stripe's totals (or Metronome, where they went there) do not "
    "show them. They are looked for again by themselves. Compare them there; where nothing of them is to be found, "
    "`metermend release {id} --reason WHY` sends them once more."
)

IN_A_PART = (
    "Corrected records stand in a part that somebody has yet to upload in the Dashboard, or to say what became of, "
    "or they wait for the next one: `metermend parts` shows who has it."
)

OF_THE_RECORD = Reason(
    "Stripe's code says it, and nothing could be repaired without guessing.",
    "The suggestion of each record says what would help: read it with the command above.",
)
"""What is said of a code that has no words of its own here: one that Stripe has added, or a remedy brings."""

KNOWN: Mapping[str, Reason] = {**REASONS, **CODE_REASONS}
"""What can be said of a reason without loading a remedy."""

MAPPED: Mapping[str, str] = {
    Code.CUSTOMER_NOT_FOUND: "map customer OLD NEW",
    Code.NO_METER: "map meter OLD NEW",
    Code.ARCHIVED_METER: "map meter OLD NEW",
    Code.VALUE_NOT_FOUND: "map value-key METER KEY",
    Code.INVALID_VALUE: "map decimal-mark METER MARK",
}
"""What mends all records of a code at once: a command of `metermend`."""


def reasons_of(entries: Sequence[EntryRow], known: Mapping[str, Reason] = KNOWN) -> dict[str, tuple[int, Reason]]:
    """Return how many records of the case wait for a person and why, by the slug of the reason, the most first."""
    counts: Counter[str] = Counter()
    for entry in entries:
        if entry.to_bucket == Bucket.QUARANTINED:
            counts.update(entry.detail.get("reasons", {}))
        if entry.from_bucket == Bucket.QUARANTINED:
            counts.subtract(entry.detail.get("reasons", {}))
    waiting = [(slug, records) for slug, records in counts.most_common() if records > 0]
    return {slug: (records, known.get(slug, OF_THE_RECORD)) for slug, records in waiting}


def next_step(case: Case, unconfirmed: int = 0, *, only_counted: bool = False, in_a_part: bool = False) -> str:
    """Return the advice for a case, commands between backticks; one that nobody takes up by itself comes first.

    `only_counted` tells that no row is known of any record that waits for a person, `in_a_part` that some are to be
    uploaded by hand.
    """
    if case.trouble and case.due_at is None:
        return STUCK.format(trouble=case.trouble)
    if case.state is CaseState.AWAITING and in_a_part:
        return IN_A_PART
    if case.state is CaseState.AWAITING and unconfirmed:
        return UNCONFIRMED.format(records=unconfirmed, id=case.id)
    said = ONLY_COUNTED if case.state is CaseState.NEEDS_PERSON and only_counted else NEXT_STEP[case.state]
    return said.format(
        id=case.id,
        quarantined=case.balance[Bucket.QUARANTINED].records,
        failed=case.balance.failed.records,
    )


def is_in_a_part(submissions: Sequence[Submission]) -> bool:
    """Tell whether a case waits until somebody has uploaded a part, or has said what became of it."""
    return any(one.target == DASHBOARD and one.state is SubmissionState.INTENDED for one in submissions)


def is_only_counted(case: Case, entries: Sequence[EntryRow]) -> bool:
    """Tell whether records of a case wait for a person, and no row is known of any."""
    waiting = case.balance[Bucket.QUARANTINED].records
    return bool(waiting) and unlocated(entries).total() >= waiting


def may_be_billed(entries: Sequence[EntryRow]) -> bool:
    """Tell whether records of a case wait that go only when somebody answers for it."""
    return not reasons_of(entries).keys().isdisjoint(UNCERTAIN)


def commands(case: Case, entries: Sequence[EntryRow], unconfirmed: int = 0) -> Iterator[tuple[str, str]]:
    """Yield (command, what it does) for whoever decides about the waiting records, and the unconfirmed ones."""
    release = f"metermend release {case.id} --reason WHY"
    if unconfirmed or may_be_billed(entries):
        yield release, "may be billed already: you have looked, and answer for it"
    if not case.balance[Bucket.QUARANTINED].records:
        return
    if not is_only_counted(case, entries):
        codes = dict.fromkeys(code for entry in entries for code in entry.detail.get(BY_CODE, {}))
        for what in dict.fromkeys(MAPPED[code] for code in codes if code in MAPPED):
            yield f"metermend {what} --reason WHY", "one rule for all of them, in every case"
        yield f"metermend quarantine {case.id} -o edit.csv", "all of them as CSV, to edit"
        yield f"metermend fix {case.id} --file edit.csv --reason WHY", "takes the edited CSV back"
        yield f"metermend set {case.id} RECORD FIELD VALUE --reason WHY", "changes a single value"
    yield f"metermend retry {case.id}", "after the cause was mended elsewhere"
    yield f"metermend corrected {case.id} --reference INVOICE --reason WHY", "billed otherwise"
    yield f"metermend write-off {case.id} --reason WHY", "nobody is billed"
