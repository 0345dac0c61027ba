"""What people do with parts for Stripe's Dashboard: take the next one, and say what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from workers.kernel.counting import counted
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import parts
from workers.kernel.ledger.acts import Act, ActState
from workers.kernel.places import DASHBOARD
from workers.pipeline.context import Context
from workers.pipeline.desk.order import Effect
from workers.pipeline.desk.waiting import quantities_of
from workers.pipeline.restores import last_restore
from workers.pipeline.submit.parts import Part, hand_out, tell
from workers.records.schema import CUSTOMER, EVENT_NAME, QUANTITY, with_columns_of
from workers.targets.dashboard import NOTHING_UPLOADED
from workers.targets.files import LOCATION

_ONCE: Final = "Whoever takes it uploads it once, as it is: a spreadsheet program would change its numbers."
_ANSWERS: Final = (
    "If it was uploaded all the same, what is planned again of it is billed twice: look in the Dashboard."
)
_RESTORED: Final = (
    "The ledger was restored on {} UTC, after the part was taken: whoever has it may have said before that it was "
    "uploaded, which nothing here knows any more"
)
_LISTED: Final = "`metermend parts` lists them"


@dataclass(frozen=True)
class HandOut:
    """Make the next part of what an account's records wait for, and hand it to whoever has asked."""

    account: str | None = None

    def effect(self, context: Context) -> Effect:
        """Say what is handed out; how much it holds, the part tells. Raises InputUnusable where nothing can be."""
        ledger, taken = context.ledger, parts.out(context.ledger, self.account)
        _require_dashboard(context, self.account)
        if taken is not None and taken.state is ActState.DONE:
            raise _is_out(taken)
        livemode = bool(context.settings.livemode)
        planned = ledger.queries.planned_cases(self.account, livemode=livemode, limit=1)
        if not planned and not ledger.submissions.intended(DASHBOARD, self.account):
            raise InputUnusable("no corrected usage waits to be uploaded", where=self.account or DASHBOARD)
        whose = f" of {self.account}" if self.account else ""
        return Effect(f"the next part{whose} is made, to be uploaded in the Dashboard", 0, warnings=[_ONCE])

    def carry_out(self, context: Context, act: Act) -> Mapping[str, Any]:
        """Begin the part, or write anew the one that this act has begun. Raises InputUnusable where one is out."""
        holder = parts.take(context.ledger, self.account, act.id)
        if holder != act.id:
            raise _is_out(context.ledger.acts.get(holder))
        try:
            part = hand_out(context, self.account)
        except InputUnusable:
            parts.let_go(context.ledger, self.account, act.id)
            raise
        return _described(part)

    def require_open(self, context: Context, act: Act) -> None:
        """Raise InputUnusable: only who has it knows whether it was uploaded."""
        del context
        part = (act.outcome or {}).get("part", "PART")
        raise InputUnusable(
            "it was handed out", where=part, mend=f"if nobody uploaded it: metermend parts not-uploaded {part}"
        )

    def take_back(self, context: Context, act: Act, by: str) -> Mapping[str, Any]:
        """Raise InputUnusable."""
        del by
        self.require_open(context, act)
        return {}


@dataclass(frozen=True)
class Uploaded:
    """Say that a part was uploaded: its records are confirmed as those of any file.

    Whose it is, its own name tells; `account` is for a name that tells nothing.
    """

    part: str
    account: str | None = None

    def effect(self, context: Context) -> Effect:
        """Return what the part holds. Raises InputUnusable where nobody has it."""
        outcome = self._taken(context).outcome or {}
        records = outcome["records"]
        return Effect(self._summary(counted(records, "record")), records, outcome["quantities"], basis=self.part)

    def carry_out(self, context: Context, act: Act) -> Mapping[str, Any]:
        """Write it down, once: of two people who say something of one part, the first is believed."""
        done = {"part": self.part, "records": (act.effect or {})["records"]}
        if self._is_done(context, act):
            return done
        taken = self._taken(context)
        if parts.tell(context.ledger, self._whose(context), taken.id, act.id) != act.id:
            raise InputUnusable("somebody else has said what became of it just now", where=self.part, mend=_LISTED)
        tell(context, self.part, {**self._said(act), "records": done["records"], "by": act.actor, "act": act.id})
        parts.let_go(context.ledger, self._whose(context), taken.id)
        return done

    def require_open(self, context: Context, act: Act) -> None:
        """Raise InputUnusable: what was said has led to other things since."""
        del context
        raise InputUnusable(
            "what became of a part is said once", where=act.id, mend="see `metermend undo` and `metermend retry`"
        )

    def take_back(self, context: Context, act: Act, by: str) -> Mapping[str, Any]:
        """Raise InputUnusable."""
        del by
        self.require_open(context, act)
        return {}

    def _summary(self, records: str) -> str:
        return f"{self.part} was uploaded in the Dashboard: {records}"

    def _said(self, act: Act) -> Mapping[str, Any]:
        return {LOCATION: f"Stripe's Dashboard, as {self.part}, by {act.actor}"}

    def _is_done(self, context: Context, act: Act) -> bool:
        members = context.ledger.shared_files.members(self.part)
        done = any(
            isinstance(one.chunk.result, Mapping) and one.chunk.result.get("act") == act.id for one in members
        )
        taken = parts.out(context.ledger, self._whose(context))
        if done and taken is not None and (taken.outcome or {}).get("part") == self.part:
            parts.let_go(context.ledger, self._whose(context), taken.id)
        return done

    def _whose(self, context: Context) -> str | None:
        members = context.ledger.shared_files.members(self.part)
        case = context.ledger.cases.get(members[0].submission.case_id) if members else None
        return case.failure.account if case else self.account

    def _taken(self, context: Context) -> Act:
        taken = parts.out(context.ledger, self._whose(context))
        if taken is None or taken.state is not ActState.DONE or (taken.outcome or {}).get("part") != self.part:
            raise InputUnusable(
                "nobody has taken that part, or it is told of already", where=self.part, mend=_LISTED
            )
        return taken


@dataclass(frozen=True)
class NotUploaded(Uploaded):
    """Say that Stripe has taken in nothing of a part: its records wait for a person, and none is billed."""

    def effect(self, context: Context) -> Effect:
        """Return what the part holds. Raises InputUnusable where nobody has it, or Stripe has told of it."""
        told = super().effect(context)
        self._require_untold_by_stripe(context)
        warnings, restored = [_ANSWERS], last_restore(context)
        if restored is not None and self._taken(context).asked_at < restored:
            warnings.append(_RESTORED.format(f"{restored:%Y-%m-%d %H:%M}"))
        return Effect(told.summary, told.records, told.quantities, warnings=warnings, basis=self.part)

    def carry_out(self, context: Context, act: Act) -> Mapping[str, Any]:
        """Write it down, as `Uploaded` does. Raises InputUnusable where Stripe has told of it by now."""
        if not self._is_done(context, act):
            self._require_untold_by_stripe(context)
        return super().carry_out(context, act)

    def _require_untold_by_stripe(self, context: Context) -> None:
        if any(one.chunk.verdict for one in context.ledger.shared_files.members(self.part)):
            raise InputUnusable(
                "Stripe has told what it imported of it",
                where=self.part,
                mend=f"metermend parts uploaded {self.part}",
            )

    def _summary(self, records: str) -> str:
        return f"{self.part} was not uploaded, or nothing of it was taken in: {records}"

    def _said(self, act: Act) -> Mapping[str, Any]:
        return {LOCATION: f"nowhere: {act.actor} has uploaded nothing of {self.part}", NOTHING_UPLOADED: True}


def _described(part: Part) -> Mapping[str, Any]:
    """Return what stands of a part on its page."""
    rows = with_columns_of(part.records, [CUSTOMER, EVENT_NAME, QUANTITY])
    cases = sorted({one.submission.case_id for one in part.members})
    return {
        "part": part.name,
        "file": [part.file.name, part.file.sha256],
        "records": rows.height,
        "quantities": dict(quantities_of(rows)),
        "customers": rows.select(pl.col(CUSTOMER).n_unique()).item(),
        "cases": cases,
        "summary": f"{part.name}: {counted(rows.height, 'record')} of {counted(len(cases), 'case')}",
    }


def _require_dashboard(context: Context, account: str | None) -> None:
    target = context.target_of(account)
    if target is None or target.name != DASHBOARD:
        raise InputUnusable(
            "usage is not uploaded by hand", where=account or "SUBMIT_TO", mend="name `dashboard` in SUBMIT_TO"
        )


def _is_out(taken: Act) -> InputUnusable:
    part = (taken.outcome or {}).get("part", "the next part")
    return InputUnusable(
        f"{taken.actor} has taken it on {taken.asked_at:%Y-%m-%d %H:%M} UTC, and nobody has said what became of it",
        where=part,
        mend=f"say so first: metermend parts uploaded {part}, or not-uploaded",
    )
