"""Who has a part for Stripe's Dashboard in his hands: one person for each account, from taking it to telling of it.

Two people who upload one part bill it twice, and nothing at Stripe need stop them. So the next one is handed out
only when somebody has said what became of the last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.kernel.ledger.acts import HAND_OUT, NOT_UPLOADED, UPLOADED, Act, ActFilter, ActState
from workers.kernel.ledger.ledger import Ledger
from workers.kernel.places import DASHBOARD

_TAKEN = "act"
_TOLD = "told"


@dataclass(frozen=True)
class HandedOut:
    """A part as an act has handed it out. `told` is the act that says what became of it, None while it is out."""

    act: Act
    told: Act | None

    @property
    def name(self) -> str:
        """The name of its file, empty while it is being made."""
        return str((self.act.outcome or {}).get("part", ""))


def _name(account: str | None) -> str:
    return f"part:{account or ''}"


def take(ledger: Ledger, account: str | None, act_id: str) -> str:
    """Return the act that may make and hand out the account's part: this one, unless another's is out."""
    before = ledger.checkpoints.get(_name(account))
    broke_off = before and ledger.acts.get(before[_TAKEN]).state is ActState.REFUSED

    def decision(there: Any) -> Mapping[str, Any]:
        return {_TAKEN: act_id, _TOLD: None} if not there or (broke_off and there == before) else there

    return str(ledger.checkpoints.decide(_name(account), decision)[_TAKEN])


def tell(ledger: Ledger, account: str | None, taken: str, act_id: str) -> str | None:
    """Return the act whose word counts of the part that `taken` handed out: this one, unless another was first.

    None where that part is not out.
    """

    def decision(there: Any) -> Any:
        if not there or there[_TAKEN] != taken:
            return there
        return {**there, _TOLD: there[_TOLD] or act_id}

    there = ledger.checkpoints.decide(_name(account), decision)
    return there[_TOLD] if there and there[_TAKEN] == taken else None


def let_go(ledger: Ledger, account: str | None, taken: str) -> None:
    """Let the next part be handed out."""
    ledger.checkpoints.decide(_name(account), lambda there: None if there and there[_TAKEN] == taken else there)


def out(ledger: Ledger, account: str | None) -> Act | None:
    """Return the act by which the account's part was taken that nobody has told of yet.

    None, too, where the act was refused while the part was made: it has reached nobody.
    """
    there = ledger.checkpoints.get(_name(account))
    taken = ledger.acts.get(there[_TAKEN]) if there else None
    return None if taken is None or taken.state is ActState.REFUSED else taken


def waiting(ledger: Ledger, account: str | None) -> tuple[int, int]:
    """Return of how many of an account's cases records stand in no part yet, and how many records.

    Some are planned; others were intended with the last part and did not fit into it.
    """
    found = ledger.queries.planned_records(account), ledger.chunks.not_begun(DASHBOARD, account)
    cases, records = map(sum, zip(*found, strict=True))
    return cases, records


def handed_out(ledger: Ledger, limit: int) -> Sequence[HandedOut]:
    """Return the parts that were handed out last, the latest first, each with what was said of it."""
    told: dict[str, Act] = {}
    for kind in (UPLOADED, NOT_UPLOADED):
        for act in ledger.acts.page(ActFilter(kind=kind, state=ActState.DONE), limit).rows:
            told[act.arguments["part"]] = act
    acts = ledger.acts.page(ActFilter(kind=HAND_OUT, state=ActState.DONE), limit).rows
    return [HandedOut(act, told.get((act.outcome or {})["part"])) for act in acts]
