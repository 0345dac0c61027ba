"""Asking for, showing, approving, carrying out and taking back what people decide.

The terminal, the console and the tests change cases by hand in this one way. With APPROVALS=2 somebody else than
the one who asked must approve too. What was approved and broke off goes on by itself (`carry_on_open`): every act
knows what of it is done already.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from workers.alerts import NextStep
from workers.kernel.errors import Conflict, InputUnusable, LedgerUnavailable, Permanent, Transient
from workers.kernel.ledger.acts import FORGET, HAND_OUT, NOT_UPLOADED, UPLOADED, Act, ActState
from workers.kernel.ledger.journal import Bucket
from workers.kernel.logs import get_logger
from workers.pipeline.context import Context
from workers.pipeline.desk.case_orders import Corrected, WriteOff
from workers.pipeline.desk.forget_orders import Forget
from workers.pipeline.desk.order import Effect, Example, Order
from workers.pipeline.desk.page_orders import FixByFile, SetValue
from workers.pipeline.desk.part_orders import HandOut, NotUploaded, Uploaded
from workers.pipeline.desk.readings import READINGS, is_reading
from workers.pipeline.desk.record_orders import Fix
from workers.pipeline.desk.release_orders import Release
from workers.pipeline.desk.retry_orders import Retry
from workers.pipeline.desk.rule_orders import MakeRule, RevertRule
from workers.pipeline.desk.waiting import Chosen, waiting
from workers.pipeline.notify import trouble

log = get_logger(__name__)


@dataclass(frozen=True)
class TakeBack:
    """Undo an act that is done, as a page asks for it: what would wait again is shown first."""

    act_id: str

    def effect(self, context: Context) -> Effect:
        """Return the other way round what the act did. Raises InputUnusable where it is too late."""
        act = require_done(context.ledger.acts.get(self.act_id))
        order_of(act.kind, act.arguments).require_open(context, act)
        did = act.effect or {}
        return Effect(
            f"taken back: {did['summary']}",
            (act.outcome or {}).get("records", 0),
            did["quantities"],
            did["cases"],
            [
                Example(**{**one, "before": one["after"], "after": one["before"], "note": ""})
                for one in did["examples"]
            ],
        )

    def carry_out(self, context: Context, act: Act) -> Mapping[str, Any]:
        """Take it back; where that broke off before it was noted, note it."""
        undone = context.ledger.acts.get(self.act_id)
        if undone.state is not ActState.TAKEN_BACK:
            undone = take_back(context, undone, act.actor)
        outcome: Mapping[str, Any] = (undone.outcome or {})["taken_back"]
        return outcome

    def require_open(self, context: Context, act: Act) -> None:
        """Raise InputUnusable: what was taken back is asked for anew."""
        del context
        raise InputUnusable("it has taken an act back", where=act.id, mend=f"ask for {self.act_id} anew")

    def take_back(self, context: Context, act: Act, by: str) -> Mapping[str, Any]:
        """Raise InputUnusable."""
        del by
        self.require_open(context, act)
        return {}


ORDERS: Final[Mapping[str, Callable[..., Order]]] = {
    "write_off": WriteOff,
    "corrected": Corrected,
    "retry": Retry,
    "release": Release,
    "fix": Fix,
    "fix_by_file": FixByFile,
    "set_value": SetValue,
    "make_rule": MakeRule,
    "revert_rule": RevertRule,
    FORGET: Forget,
    "take_back": TakeBack,
    HAND_OUT: HandOut,
    UPLOADED: Uploaded,
    NOT_UPLOADED: NotUploaded,
}
"""The kinds of acts. Adding one is a class like these and its line here."""
_OPEN_AT_ONCE: Final = 50
_AGAIN_SECONDS: Final = 2.0


def ask(
    context: Context, kind: str, subject: str | None, arguments: Mapping[str, Any], *, actor: str, why: str
) -> tuple[Act, Effect]:
    """Note what somebody wants done, and return it with its effect. Raises InputUnusable where it has none."""
    if not why.strip():
        raise InputUnusable("a reason is missing", where="--reason", mend="say why, for whoever reads this later")
    effect = order_of(kind, arguments).effect(context)
    act = context.ledger.acts.ask(kind, subject, arguments, actor, why)
    return context.ledger.acts.show(act, effect.to_json(), effect.fingerprint), effect


def show_anew(context: Context, act: Act) -> Act:
    """Look at an act's effect as it is now."""
    effect = order_of(act.kind, act.arguments).effect(context)
    return context.ledger.acts.show(act, effect.to_json(), effect.fingerprint)


def approve(context: Context, act: Act, name: str) -> Act:
    """Approve what was shown, and carry it out as soon as enough people have.

    Raises InputUnusable where its effect is another one by now, or that person may not approve it.
    """
    if order_of(act.kind, act.arguments).effect(context).fingerprint != act.fingerprint:
        raise InputUnusable(
            "its effect is not what was shown any more, so nothing was done", where=act.id, mend="ask for it anew"
        )
    try:
        approved = context.ledger.acts.approve(act, name, context.settings.approvals)
    except Conflict:
        raise InputUnusable(
            "somebody else has decided about it just now", where=act.id, mend="`metermend acts` shows how it stands"
        ) from None
    return carry_out(context, approved) if approved.state is ActState.APPROVED else approved


def carry_out(context: Context, act: Act) -> Act:
    """Do what was approved. Raises Conflict while a worker holds a case of it: it goes on by itself then."""
    try:
        outcome = order_of(act.kind, act.arguments).carry_out(context, act)
    except InputUnusable as error:
        _end(context, act, ActState.REFUSED, {"error": str(error)})
        raise
    return _end(context, act, ActState.DONE, outcome)


def _end(context: Context, act: Act, state: ActState, outcome: Mapping[str, Any]) -> Act:
    """Note how an act ended; where another process was quicker to note it, that is how."""
    try:
        return context.ledger.acts.end(act, state, outcome)
    except Conflict:
        ended = context.ledger.acts.get(act.id)
        if ended.state in {ActState.ASKED, ActState.APPROVED}:
            raise
        return ended


def settle(context: Context, act_id: str) -> float | None:
    """Do what an act waits for: show what was asked for on a page, carry out what is approved.

    Return the seconds after which to try again, None where nothing is left to do. Whoever approved one that is
    refused is not there any more, so a person is told.
    """
    act = context.ledger.acts.get(act_id)
    try:
        if act.state is ActState.ASKED and is_reading(act):
            _end(context, act, ActState.DONE, READINGS[act.kind](**act.arguments).outcome(context))
        elif act.state is ActState.ASKED:
            show_anew(context, act)
        elif act.state is ActState.APPROVED:
            carry_out(context, act)
    except (Conflict, Transient):
        return _AGAIN_SECONDS
    except (InputUnusable, Permanent) as error:
        _refuse(context, act, str(error))
    except LedgerUnavailable:
        raise
    except Exception as error:  # whatever one act does must keep neither the others nor the cases waiting
        log.exception("unexpected")
        _refuse(context, act, f"it broke off, which nobody expected ({type(error).__name__}: {error})")
    return None


def carry_on_open(context: Context) -> int:
    """Do what acts wait for that broke off, or that no worker was told of; return for how many it is done."""
    waiting_ones = context.ledger.acts.all(states=[ActState.ASKED, ActState.APPROVED], limit=_OPEN_AT_ONCE)
    return sum(settle(context, act.id) is None for act in waiting_ones)


def _refuse(context: Context, act: Act, reason: str) -> None:
    ended = _end(context, act, ActState.REFUSED, {"error": reason})
    if act.state is ActState.APPROVED:
        _tell_refused(context, ended, reason)


def _tell_refused(context: Context, act: Act, reason: str) -> None:
    asked = f"{act.actor} has asked for it: {act.why}. {reason}"
    step = NextStep("Look at what has changed, and ask for it anew.", "metermend acts")
    trouble(context, act.id, "what was approved could not be done", asked, step)


def withdraw(context: Context, act: Act, name: str) -> Act:
    """Let an act be that is not approved yet. Raises Conflict."""
    return context.ledger.acts.end(act, ActState.WITHDRAWN, {"by": name})


def take_back(context: Context, act: Act, name: str) -> Act:
    """Undo an act that is done. Raises InputUnusable where it is too late, or it never was."""
    require_done(act)
    outcome = order_of(act.kind, act.arguments).take_back(context, act, name)
    return context.ledger.acts.end(
        act, ActState.TAKEN_BACK, {**(act.outcome or {}), "taken_back": outcome, "by": name}
    )


def require_done(act: Act) -> Act:
    """Return an act that has changed something. Raises InputUnusable for any other."""
    if act.state is not ActState.DONE or is_reading(act):
        said = "has changed nothing" if is_reading(act) else f"is {act.state}"
        raise InputUnusable(f"it {said}, so there is nothing to take back", where=act.id)
    return act


def concerns(context: Context, case_id: str, chosen: Chosen) -> bool:
    """Whether a case has quarantined records that are meant."""
    there = waiting(context, context.ledger.queries.entries(case_id), Bucket.QUARANTINED)
    return bool(chosen.of(there).select(pl.len()).collect().item())


def order_of(kind: str, arguments: Mapping[str, Any]) -> Order:
    """Return what an act is to do. Raises InputUnusable where there is no such kind."""
    if kind not in ORDERS:
        raise InputUnusable("there is no such kind of act", where=kind, mend=f"known are {', '.join(ORDERS)}")
    chosen = {"chosen": Chosen.from_json(arguments["chosen"])} if "chosen" in arguments else {}
    return ORDERS[kind](**{**arguments, **chosen})
