r"""What people do to cases and rules: each act with who, why, what it would change, and who has approved it.

An act is asked for, shown with its effect, approved by as many people as APPROVALS says, and carried out once. Its
fingerprint is that of what was shown: where that has changed meanwhile, nothing is done.

    asked -> shown -> approved -> done -> taken back
                  \-> refused (with the reason) or withdrawn
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self
from uuid import uuid4

from sqlalchemy import insert, select, update

from workers.kernel.clock import Clock, to_text
from workers.kernel.erasing import Eraser
from workers.kernel.errors import Conflict, InputUnusable
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.paging import Page, Stretch, page
from workers.kernel.ledger.tables import acts

CSV: Final = "write_csv"
"""The kind of an act that changes nothing: it is done as soon as a worker has done it."""

FORGET: Final = "forget"
"""The kind of an act that erases a customer: when it ends, it says no more whom it was about."""


HAND_OUT: Final = "hand_out"
"""The kind of an act that makes the next part for Stripe's Dashboard and hands it to whoever has asked."""
UPLOADED: Final = "uploaded"
NOT_UPLOADED: Final = "not_uploaded"
"""The kinds of acts that say what became of a part."""
OF_PARTS: Final = (HAND_OUT, UPLOADED, NOT_UPLOADED)
"""The kinds of acts that are not taken back: what they are about is in somebody's hands, or at Stripe."""


class ActState(StrEnum):
    """Where an act stands."""

    ASKED = "asked"
    SHOWN = "shown"
    APPROVED = "approved"
    DONE = "done"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    TAKEN_BACK = "taken_back"


@dataclass(frozen=True)
class Act:
    """One act. `effect` and `outcome` are plain JSON; `approvals` has a name and a time (RFC 3339) for each."""

    id: str
    kind: str
    subject: str | None
    arguments: Mapping[str, Any]
    actor: str
    why: str
    state: ActState
    asked_at: datetime
    effect: Mapping[str, Any] | None
    fingerprint: str | None
    approvals: Sequence[Mapping[str, str]]
    ended_at: datetime | None
    outcome: Mapping[str, Any] | None

    @property
    def approved_by(self) -> list[str]:
        """Who has approved it, the first one first."""
        return [approval["name"] for approval in self.approvals]

    @property
    def summary(self) -> str:
        """What it is about, in a line; of one that nobody has looked at yet, its kind."""
        told = (self.effect or {}).get("summary") or (self.outcome or {}).get("summary")
        return str(told or self.kind.replace("_", " "))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        return cls(**{**row, "state": ActState(row["state"]), "approvals": tuple(row["approvals"])})


@dataclass(frozen=True)
class ActFilter:
    """Which acts are meant; nothing named means all of them. `actor` is who has asked for them."""

    actor: str | None = None
    kind: str | None = None
    state: ActState | None = None


_STRETCHES: Final = (Stretch(acts.c.asked_at),)


class Acts:
    """The acts table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def ask(self, kind: str, subject: str | None, arguments: Mapping[str, Any], actor: str, why: str) -> Act:
        """Note what somebody wants done; `subject` is the case or the rule that it is about, None for several."""
        return self._add(kind, subject, arguments, actor, why, ActState.ASKED)

    def order(
        self, kind: str, subject: str, arguments: Mapping[str, Any], actor: str, why: str, effect: Mapping[str, Any]
    ) -> Act:
        """Note what somebody wants done that needs nobody's word beside his own, since no record moves by it."""
        return self._add(kind, subject, arguments, actor, why, ActState.APPROVED, effect)

    def _add(
        self,
        kind: str,
        subject: str | None,
        arguments: Mapping[str, Any],
        actor: str,
        why: str,
        state: ActState,
        effect: Mapping[str, Any] | None = None,
    ) -> Act:
        now = self._clock()
        row: dict[str, Any] = {
            "id": f"act_{uuid4().hex[:16]}",
            "kind": kind,
            "subject": subject,
            "arguments": dict(arguments),
            "actor": actor,
            "why": why,
            "state": state,
            "asked_at": now,
            "approvals": [{"name": actor, "at": to_text(now)}] if state is ActState.APPROVED else [],
        }
        shown = {} if effect is None else {"effect": effect}
        with self._database.write() as connection:
            connection.execute(insert(acts).values({**row, **shown}))
        return self.get(row["id"])

    def get(self, act_id: str) -> Act:
        """Return an act. Raises InputUnusable where there is none of that id."""
        found = next(iter(self._database.rows(select(acts).where(acts.c.id == act_id))), None)
        if found is None:
            raise InputUnusable("there is no such act", where=act_id, mend="`metermend acts` lists them")
        return Act.from_row(dict(found))

    def all(
        self, *, subject: str | None = None, states: Sequence[ActState] = (), limit: int = 100
    ) -> Sequence[Act]:
        """Return acts, the latest first."""
        query = select(acts).order_by(acts.c.asked_at.desc(), acts.c.id).limit(limit)
        if subject is not None:
            query = query.where(acts.c.subject == subject)
        if states:
            query = query.where(acts.c.state.in_(states))
        return [Act.from_row(dict(row)) for row in self._database.rows(query)]

    def page(self, wanted: ActFilter, limit: int = 100, after: str | None = None) -> Page[Act]:
        """Return the acts that come after a place in the list, the latest first."""
        chosen = [acts.c[name] == value for name, value in vars(wanted).items() if value is not None]
        found = page(self._database, select(acts).where(*chosen), _STRETCHES, acts.c.id, limit, after)
        return Page([Act.from_row(dict(row)) for row in found.rows], found.after)

    def show(self, act: Act, effect: Mapping[str, Any], fingerprint: str) -> Act:
        """Keep what an act would do. Who has approved another effect has not approved this one."""
        approvals = list(act.approvals) if fingerprint == act.fingerprint else []
        shown = {"effect": effect, "fingerprint": fingerprint, "approvals": approvals}
        return self._change(act, (ActState.ASKED, ActState.SHOWN), ActState.SHOWN, **shown)

    def approve(self, act: Act, name: str, needed: int) -> Act:
        """Let somebody approve what was shown; as soon as as many have as are `needed`, it may be done.

        Raises InputUnusable where that person has approved it already, or it is not to be approved.
        """
        if act.state is not ActState.SHOWN:
            raise InputUnusable(f"it is {act.state}", where=act.id, mend="ask for it anew")
        if name in act.approved_by:
            raise InputUnusable(
                f"{name} has approved it already",
                where=act.id,
                mend=f"{needed} people must, each by a name of his own",
            )
        approvals = [*act.approvals, {"name": name, "at": to_text(self._clock())}]
        state = ActState.APPROVED if len(approvals) >= needed else ActState.SHOWN
        return self._change(act, (ActState.SHOWN,), state, approvals=approvals)

    def end(self, act: Act, state: ActState, outcome: Mapping[str, Any]) -> Act:
        """Note how an act ended. What is approved may be half done, so it is not withdrawn any more."""
        before = {
            ActState.DONE: (ActState.ASKED,) if act.kind == CSV else (ActState.APPROVED,),
            ActState.WITHDRAWN: (ActState.ASKED, ActState.SHOWN),
            ActState.TAKEN_BACK: (ActState.DONE,),
        }.get(state, (ActState.ASKED, ActState.SHOWN, ActState.APPROVED))
        without = Eraser(tuple(act.arguments.values())) if act.kind == FORGET else Eraser(())
        said = {"arguments": without.value(act.arguments), "why": without.text(act.why)}
        return self._change(act, before, state, outcome=outcome, ended_at=self._clock(), **said)

    def _change(self, act: Act, before: Sequence[ActState], after: ActState, **values: Any) -> Act:
        """Write to an act that nobody has changed since it was read. Raises Conflict.

        It is compared whole: of two people who approve at once, the later one's word must not take the place of
        the other's.
        """
        with self._database.write() as connection:
            there = connection.execute(select(acts).where(acts.c.id == act.id).with_for_update()).mappings().one()
            if act.state not in before:
                raise Conflict(f"{act.id} is {act.state.replace('_', ' ')} already")
            if Act.from_row(dict(there)) != act:
                raise Conflict(f"{act.id} was changed by somebody else meanwhile")
            connection.execute(update(acts).where(acts.c.id == act.id).values(state=after, **values))
        return self.get(act.id)
