"""Letting records go that may be billed already: somebody has looked in Stripe, and answers for them by name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Final

import polars as pl

from workers.kernel.counting import counted
from workers.kernel.errors import InputUnusable, Permanent, Transient
from workers.kernel.files import file_name
from workers.kernel.ledger.acts import Act
from workers.kernel.ledger.cases import CaseReading, HeldCase
from workers.kernel.ledger.journal import Bucket, Movement
from workers.kernel.ledger.submissions import Submission
from workers.kernel.ledger.unconfirmed import RELEASED, is_noted
from workers.kernel.places import is_at_stripe
from workers.kernel.reasons import ARRIVAL_UNKNOWN
from workers.pipeline.context import Context
from workers.pipeline.desk.case_orders import require_unchanged
from workers.pipeline.desk.order import MOST_EXAMPLES, Effect
from workers.pipeline.desk.retry_orders import Retry, is_uncertain
from workers.pipeline.desk.traces import told
from workers.pipeline.desk.waiting import SHOWN, examples_of, quantities_of
from workers.pipeline.record_sets import COUNTED_AS, records_in
from workers.pipeline.submit.arrival import nothing_arrived
from workers.pipeline.submit.outcomes import set_aside
from workers.pipeline.upkeep.retry import Asked, Retried, retry_case
from workers.records.quantities import add, to_text
from workers.records.schema import EVENT_NAME, IDENTIFIER, QUANTITY, REASON, SUGGESTION, with_columns_of

_NONE: Final = pl.DataFrame(schema={EVENT_NAME: pl.String, QUANTITY: pl.String})
_JUDGED: Final = "the case's next look confirms what was taken in, and holds the rest"
_LET_GO: Final = "It is unconfirmed, and somebody who has looked in Stripe lets it go once more."


@dataclass(frozen=True)
class Release(Retry):
    """Let held records go, and those of unconfirmed submissions of which nothing shows.

    An unconfirmed record is first put before a person as one whose arrival is unknown, and then sent as it was: as
    one that was held from the start.
    """

    uncertain: bool = True
    words = "let go, though they may be billed already"

    def effect(self, context: Context) -> Effect:
        """Return which records it is about.

        Raises InputUnusable where none is held back, or none that is unconfirmed may go.
        """
        effect = super().effect(context)
        rows, left, elsewhere = [_NONE], list[InputUnusable](), list[str]()
        examples = list(effect.examples)
        for case_id in self.cases:
            case = context.ledger.cases.read(case_id)
            elsewhere += _billed_elsewhere(context, case)
            for _, found, why_not in self._unconfirmed(context, case):
                if why_not is not None:
                    left.append(why_not)
                    continue
                rows.append(found.select(EVENT_NAME, QUANTITY))
                examples += examples_of(case_id, found.head(MOST_EXAMPLES - len(examples)), self.words)
        more = pl.concat(rows)
        if not effect.records and more.is_empty():
            nothing = InputUnusable(
                "no such record is held back", where=self.cases[0], mend="`metermend quarantine` shows why"
            )
            raise next(iter(left), nothing)
        return replace(
            effect,
            summary=f"{counted(effect.records + more.height, 'record')} of {', '.join(self.cases)}: {self.words}",
            records=effect.records + more.height,
            quantities=_added(effect.quantities, quantities_of(more)),
            examples=examples,
            warnings=[*effect.warnings, *elsewhere, *_warnings(more.height), *map(str, left)],
        )

    def _meant(self, chosen: pl.LazyFrame) -> pl.LazyFrame:
        return chosen.filter(is_uncertain())

    def _retry(self, context: Context, case_id: str, act: Act) -> Retried:
        self._put_before_a_person(context, case_id, act)
        asked = Asked(act.actor, told(act), self._chosen_ones, partial(_require_as_shown, act))
        return retry_case(context, case_id, approved_by=act.actor, asked=asked)

    def _chosen_ones(self, quarantined: pl.LazyFrame) -> pl.LazyFrame:
        return self._meant(self.chosen.of(quarantined))

    def _put_before_a_person(self, context: Context, case_id: str, act: Act) -> None:
        """Hold the unconfirmed records that are meant, in one commit; a try that broke off has done it already.

        Raises InputUnusable where what was shown must not go by now.
        """
        with context.ledger.cases.hold(case_id, context.owner, context.lease) as held:
            if any(entry.detail.get(RELEASED) == act.id for entry in held.journal):
                return
            moves = list(self._held_moves(context, held, act))
            if moves:
                _require_as_shown(act, held)
                with held.transaction(last=True) as transaction:
                    transaction.move(*moves)

    def _held_moves(self, context: Context, held: HeldCase, act: Act) -> Iterator[Movement]:
        for submission, rows, why_not in self._unconfirmed(context, held):
            if why_not is None:
                for move in set_aside(context, submission, _reasons(rows), failure_key=f"released:{act.id}"):
                    yield replace(move, actor=act.actor, detail={**move.detail, RELEASED: act.id})
            elif str(why_not) not in (act.effect or {})["warnings"]:
                raise why_not

    def _unconfirmed(
        self, context: Context, case: CaseReading
    ) -> Iterator[tuple[Submission, pl.DataFrame, InputUnusable | None]]:
        """Yield each unconfirmed submission with its records that are meant, and why they may not go, if so."""
        for submission in case.submissions:
            rows = self._rows(context, case, submission) if is_noted(case.journal, submission.id) else _NONE
            if not rows.is_empty():
                yield submission, rows, _why_not(context, case, submission)

    def _rows(self, context: Context, case: CaseReading, submission: Submission) -> pl.DataFrame:
        there = records_in(context, case.journal, Bucket.SUBMITTED, submission_id=submission.id)
        if there is None:
            return _NONE
        columns = (*SHOWN, QUANTITY, COUNTED_AS, IDENTIFIER)
        return self.chosen.of(
            with_columns_of(there, columns).with_columns(pl.lit(None, pl.String).alias(REASON))
        ).collect()


def _require_as_shown(act: Act, held: HeldCase) -> None:
    """Raise InputUnusable where a case has changed since it was shown, but for what this act has held in it.

    What nobody has looked at must not go on his word.
    """
    own = sum(entry.detail.get(RELEASED) == act.id for entry in held.journal)
    require_unchanged(held, act, own)


def _why_not(context: Context, case: CaseReading, submission: Submission) -> InputUnusable | None:
    """Return why an unconfirmed submission must not go once more; None where nothing of it has arrived or will."""
    account = case.case.failure.account
    if submission.verdict is not None:
        return _refused(submission, "Stripe has read a file of it and told its verdict, which decides", _JUDGED)
    target = context.target_named(submission.target, account)
    if target is None:
        return _refused(submission, f"it went to {submission.target}, which SUBMIT_TO does not name any more")
    for number, chunk in context.ledger.chunks.of(submission.id).items():
        name = chunk.file or file_name(submission.id, number)
        if target.lies_there(name):
            mend = "see that its connector reads the folder; if none will, remove the file and ask again"
            return _refused(submission, f"{name} lies in its folder, and Stripe may read it yet", mend)
    return _why_perhaps_there(context, case, submission)


def _why_perhaps_there(context: Context, case: CaseReading, submission: Submission) -> InputUnusable | None:
    """Return why some of a submission may have arrived; None where nothing of it shows."""
    try:
        if nothing_arrived(context, case.case.failure.account, case.journal, submission):
            return None
    except (Transient, Permanent) as error:
        teller = "Stripe does not tell its totals" if submission.is_at_stripe else "its target does not tell"
        return _refused(submission, f"{teller}: {error}", "ask again when it does")
    if not submission.is_at_stripe:
        return _refused(submission, "its target shows some of it", "the case's next look decides on that")
    mend = "compare it with Stripe's summaries; it is confirmed by itself once they hold all of it"
    return _refused(submission, "Stripe's totals have grown since, so that some of it may have arrived", mend)


def _refused(submission: Submission, what: str, mend: str = "name it again, and ask once more") -> InputUnusable:
    return InputUnusable(f"unconfirmed records stay: {what}", where=submission.id, mend=mend)


def _billed_elsewhere(context: Context, case: CaseReading) -> Iterator[str]:
    """Warn where records of a case went to another biller than SUBMIT_TO leads to now."""
    target = context.target_of(case.case.failure.account)
    for name in sorted({one.target for one in case.submissions}):
        if target is not None and is_at_stripe(name) != is_at_stripe(target.name):
            yield (
                f"records of {case.case.id} went to {name}, and SUBMIT_TO leads to {target.name} now: what {name} "
                "counts later still is billed by both"
            )


def _warnings(records: int) -> Iterator[str]:
    if records:
        yield (
            f"{counted(records, 'record')} of them are unconfirmed: Stripe's totals (or Metronome) show nothing of "
            "them. Stripe skips their identifiers for a day only, Metronome for 34: what is counted later still "
            "would be billed twice"
        )


def _reasons(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(IDENTIFIER, pl.lit(ARRIVAL_UNKNOWN).alias(REASON), pl.lit(_LET_GO).alias(SUGGESTION))


def _added(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    sums = {name: add(*(Decimal(each.get(name, "0")) for each in (one, other))) for name in (*one, *other)}
    return {name: to_text(amount) for name, amount in sums.items()}
