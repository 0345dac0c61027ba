"""Events about records that Stripe refused for their data: a count and samples, per meter, window and code.

The samples carry identifiers only, so their rows are looked up: first among our own submissions, whose refusals
belong to the case that they came from, then in the sender's usage files. What Stripe counts but does not name is
never guessed at: it is counted, and put before a person.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Final

import polars as pl

from workers.kernel.clock import to_text
from workers.kernel.codes import Code
from workers.kernel.errors import Permanent
from workers.kernel.ledger.case import Failure
from workers.kernel.ledger.events import StoredEvent
from workers.kernel.ledger.journal import EntryKind, Movement
from workers.kernel.ledger.submissions import Submission
from workers.kernel.reasons import AMBIGUOUS_IN_SOURCES, NOT_IN_SOURCES, NOT_SAMPLED, PERHAPS_OURS
from workers.pipeline.case_key import of_report, summary_of_report
from workers.pipeline.context import Context
from workers.pipeline.fault_kinds import kinds_named
from workers.pipeline.intake.claims import MEANT, WHY_NOT, Claim
from workers.pipeline.intake.older_files import with_held
from workers.pipeline.intake.open_case import Seen, Taken, take_in_seen
from workers.pipeline.intake.unlocated import Unlocated
from workers.pipeline.lookups import meters_of
from workers.pipeline.record_sets import DATA
from workers.pipeline.submit.outcomes import REFUSAL_SCHEMA, refuse, set_aside_rest
from workers.pipeline.submit.submitted_index import SUBMISSION, carried, may_be_refused, may_have_carried, sent_with
from workers.records.catalog import Catalog, Meter
from workers.records.schema import EVENT_NAME, IDENTIFIER, ROW, SOURCE
from workers.reports.error_report import CodeErrors, ErrorReport, read
from workers.sources import FoundUsage, settle, wanted

LONGEST_FAILURE: Final = timedelta(hours=6)
"""From a failure's first window to the end of its last: what goes on for longer becomes another one."""
_NAMES: Final = 5
"""Names without a meter that a case says; its samples say the others."""
_NOT_SAMPLED: Final = (
    "Stripe names samples only: `metermend check` on the files of that time shows the same faults."
)
_PERHAPS_OURS: Final = (
    "They are of ours that wait as perhaps_refused, or of your own: Stripe's summaries show which. Read ours with "
    "`metermend quarantine CASE`; where they were not billed, `metermend release CASE --reason WHY` sends them. "
    "For your own run `metermend check` on the files of that time."
)
_AMBIGUOUS: Final = (
    "Rows that differ share the identifier: leave the right one under USAGE_SOURCES, then retry the event."
)
_SHOWN: Final = 3
"""Rows, and oddities of a report, that are shown to a person who asks why nothing was found."""
_NOT_FOUND: Final = "Name every place that your usage files lie in under USAGE_SOURCES, then retry the event."


def take_in(context: Context, event: StoredEvent) -> Taken:
    """Fetch an event and its meter, and take in each code's records. Raises Permanent when it names no error."""
    full = context.stripe.fetch_event(event.id, event.account)
    context.ledger.events.keep_fetched(event.id, json.dumps(full).encode())
    meter_id = read(full).meter_id
    meter = context.stripe.fetch_meter(meter_id, event.account) if meter_id else None
    report = read(full, meter)
    catalog = Catalog(meters=(Meter.from_stripe(meter),)) if meter and report.event_name else Catalog()
    if not report.errors:
        raise Permanent(f"{event.id} reports no error that could be read: {'; '.join(report.oddities)}")
    told = [_Told(context, event, report, catalog, errors) for errors in report.errors]
    ours = [_our_records(one) for one in told]
    # All names first: what one code leaves unnamed must not hold back what another code names.
    refused = [_refuse_ours(one, mine) for one, mine in zip(told, ours, strict=True)]
    rest = [_take_in_rest(one, mine) for one, mine in zip(told, ours, strict=True)]
    return Taken(tuple(dict.fromkeys(case_id for cases in (*refused, *rest) for case_id in cases)))


@dataclass(frozen=True)
class _Told:
    """What a report tells of one code. `catalog` holds its meter where that is known."""

    context: Context
    event: StoredEvent
    report: ErrorReport
    catalog: Catalog
    errors: CodeErrors

    @cached_property
    def window(self) -> Failure:
        """What failed in this window, as if it stood alone."""
        report = self.report
        names = [sample.event_name for sample in self.errors.samples if sample.event_name]
        return of_report(
            self.event,
            self.errors.code,
            meter_id=report.meter_id,
            event_name=report.event_name or ", ".join(sorted(set(names))) or None,
            window_start=to_text(report.window_start) if report.window_start else None,
            window_end=to_text(report.window_end) if report.window_end else None,
        )

    @cached_property
    def samples(self) -> pl.DataFrame:
        """The named records as REFUSAL_SCHEMA, each once."""
        rows = [(s.identifier, self.errors.code, s.message) for s in self.errors.samples if s.identifier]
        return pl.DataFrame(rows, schema=REFUSAL_SCHEMA, orient="row").unique(IDENTIFIER, maintain_order=True)

    @property
    def unnamed(self) -> int:
        return self.errors.told - self.samples.height


_Ours = list[tuple[Submission, pl.DataFrame]]
"""Our submissions that a code's samples name, each with those samples."""


def _take_in_rest(told: _Told, ours: _Ours) -> list[str]:
    """Take in what is not ours by name: the sender's own records, and those that nobody named.

    An unnamed record may be of any submission that a sample is of, or that shares its file, so what stands of those
    is set aside. It may as well be the sender's own, so it is counted there in any case: what Stripe refused stands
    in some journal.
    """
    sent = sent_with(told.context, [submission for submission, _ in ours], told.report.event_name)
    aside = sum(_set_aside(told, submission) for submission in sent) if told.unnamed else 0
    named = [identifier for _, refused in ours for identifier in refused[IDENTIFIER]]
    others = told.samples.filter(~pl.col(IDENTIFIER).is_in(named))
    if ours and others.is_empty() and not told.unnamed:
        return []
    perhaps_ours = min(aside, told.unnamed)
    unnamed = {PERHAPS_OURS: perhaps_ours, NOT_SAMPLED: told.unnamed - perhaps_ours}
    return [_take_in_theirs(told, others, unnamed)]


def _refuse_ours(told: _Told, ours: _Ours) -> list[str]:
    """Take the named records of our submissions back into their cases, and return those."""
    context, key, event_id = told.context, told.window.key, told.event.id
    for submission, samples in ours:
        moves = refuse(context, submission, samples, refused_as=DATA, failure_key=key, event_id=event_id)
        _write(context, submission, moves)
    return [submission.case_id for submission, _ in ours]


def _set_aside(told: _Told, submission: Submission) -> int:
    """Set aside what stands of a submission; return how many records this report has set aside, now or before."""
    context, key, name = told.context, told.window.key, told.report.event_name
    moves = set_aside_rest(context, submission, told.samples, told.unnamed, failure_key=key, event_name=name)
    _write(context, submission, moves)
    entries = context.ledger.queries.entries(submission.case_id)
    of_this = [e for e in entries if e.kind == EntryKind.HELD and e.submission_id == submission.id]
    return sum(entry.records for entry in of_this if entry.detail.get("failure") == key)


def _write(context: Context, submission: Submission, moves: Iterable[Movement]) -> None:
    """Write entries into the case of a submission of ours; they are made while the case is held."""
    with context.ledger.cases.hold(submission.case_id, context.owner, context.lease) as held:
        made = list(moves)
        if made:
            with held.transaction() as transaction:
                transaction.move(*made)
                transaction.reschedule(context.clock())


def _our_records(told: _Told) -> _Ours:
    """Return those samples that we sent ourselves, with the submission that carried them last."""
    context, event_name, samples = told.context, told.report.event_name, told.samples
    identifiers = samples[IDENTIFIER]
    submissions = [
        submission
        for submission in may_have_carried(context, told.event.account, IDENTIFIER, identifiers)
        if may_be_refused(context, submission) and (event_name is None or event_name in submission.event_names)
    ]
    hits = carried(context, submissions, IDENTIFIER, identifiers).unique(IDENTIFIER, keep="last")
    carriers = {submission.id: submission for submission in submissions}
    mine = samples.join(hits, on=IDENTIFIER, maintain_order="left")
    parts = mine.partition_by(SUBMISSION, as_dict=True, maintain_order=True).items()
    return [(carriers[str(key[0])], part.select(samples.columns)) for key, part in parts]


def _claim(told: _Told) -> Claim:
    """Return what tells the rows of the sources that a code's samples can mean from others of their identifiers."""
    event, report, errors = told.event, told.report, told.errors
    names = [(s.identifier, s.event_name or report.event_name) for s in errors.samples if s.identifier]
    meant = pl.DataFrame(names, schema={IDENTIFIER: pl.String, MEANT: pl.String}, orient="row")
    published = event.created_at or event.received_at
    start = report.window_start or report.window_end or published
    return Claim(
        errors.code,
        meant.unique(IDENTIFIER, maintain_order=True),
        start,
        report.window_end or report.window_start or published,
        told.context.validation_delay,
        told.catalog,
    )


def _take_in_theirs(told: _Told, samples: pl.DataFrame, unnamed: dict[str, int]) -> str:
    """Open the case of records that the sender sent himself, with those that his usage files hold."""
    context, event, claim = told.context, told.event, _claim(told)
    places = context.sources_of(event.account).find(samples[IDENTIFIER])
    rows = claim.judge(places.rows)
    found = settle(wanted(samples[IDENTIFIER]), rows.filter(pl.col(WHY_NOT).is_null()).drop(WHY_NOT))
    others = rows.filter(pl.col(IDENTIFIER).is_in(list(found.missing)))
    claimed = found.records.join(samples, on=IDENTIFIER, maintain_order="left")
    _note_kinds(told, claimed)
    located = with_held(claimed, claim.older(places.rows))
    named = {NOT_IN_SOURCES: found.missing, AMBIGUOUS_IN_SOURCES: found.ambiguous}
    counts = Counter(unnamed) + Counter({reason: len(identifiers) for reason, identifiers in named.items()})
    oddities = told.report.oddities
    suggestions = {
        PERHAPS_OURS: _PERHAPS_OURS,
        NOT_SAMPLED: " ".join([*(f"The report is odd: {oddity}." for oddity in oddities[:_SHOWN]), _NOT_SAMPLED]),
        NOT_IN_SOURCES: _not_found(event.account, places, others),
        AMBIGUOUS_IN_SOURCES: _AMBIGUOUS,
    }
    unlocated = Unlocated(
        counts,
        {reason: suggestions[reason] for reason in (*counts, NOT_SAMPLED)},
        {reason: identifiers for reason, identifiers in named.items() if identifiers},
    )
    seen = Seen(_failure(told), [located], DATA, event.id, unlocated, oddities=oddities, window=told.window.key)
    return take_in_seen(context, seen)


def _note_kinds(told: _Told, claimed: pl.DataFrame) -> None:
    """Remember in which ways rows are at fault that Stripe has named: of those alone it is known to refuse them."""
    context, account = told.context, told.event.account
    unnamed = told.errors.code == Code.NO_METER and claimed.height
    catalog = Catalog(meters=meters_of(context, account)) if unnamed else told.catalog
    context.ledger.fault_kinds.note(account, kinds_named(claimed, catalog), told.event.id)


def _failure(told: _Told) -> Failure:
    """Return the failure that the window belongs to, with all that is known of it by now."""
    window, gap = told.window, timedelta(seconds=told.context.settings.incident_gap)
    joined = told.context.ledger.cases.join(window, gap, LONGEST_FAILURE)
    names = {*(joined.event_name or "").split(", "), *(window.event_name or "").split(", ")} - {""}
    name = ", ".join(sorted(names)[:_NAMES]) or None
    return replace(
        joined,
        event_name=name,
        summary=summary_of_report(told.errors.code, name or joined.meter_id),
        window_start=min(filter(None, (joined.window_start, window.window_start)), default=None),
        window_end=max(filter(None, (joined.window_end, window.window_end)), default=None),
    )


def _not_found(account: str | None, places: FoundUsage, others: pl.DataFrame) -> str:
    """Return what was found under the identifiers of records that no source holds, and what to do about them."""
    advice = f"{places.unusable[0]}; mend it, then retry the event." if places.unusable else _NOT_FOUND
    if account is not None:
        advice = advice.replace("USAGE_SOURCES", f"USAGE_SOURCES, as {account}=place")
    shown = others.head(_SHOWN).iter_rows(named=True)
    seen = [
        f"{row[SOURCE]} row {row[ROW]} ({row[EVENT_NAME]}) has {row[IDENTIFIER]}: {row[WHY_NOT]}." for row in shown
    ]
    more = [f"So have {others.height - _SHOWN} more rows that cannot be meant."] if others.height > _SHOWN else []
    return " ".join([*seen, *more, advice])
