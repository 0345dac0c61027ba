"""One question of `metermend doctor`, and its answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from workers.kernel.errors import InputUnusable, MetermendError, Transient

Grade = Literal["ok", "note", "mend"]


@dataclass(frozen=True)
class Check:
    """The answer to one question. `mend` says what to do when it is not well."""

    name: str
    found: str
    mend: str = ""
    grade: Grade = "ok"


class Noted(Exception):
    """What is asked for is not there, and need not be."""

    def __init__(self, what: str, mend: str = "") -> None:
        self.mend = mend
        super().__init__(what)


def asked(name: str, question: Callable[[], str], mend: str, *, away: str = "") -> Check:
    """Ask; an error's own advice comes first, then `away` for a far side that does not answer, then `mend`."""
    try:
        return Check(name, question())
    except Noted as note:
        mend = note.mend or f"nothing to do if that is the place you mean; else see {name}"
        return Check(name, str(note), mend, "note")
    except InputUnusable as error:
        what = f"{error.where}: {error.what}" if error.where else error.what
        return Check(name, what, error.mend or mend, "mend")
    except MetermendError as error:
        what, _, advice = str(error).partition(" - ")
        return Check(name, what, advice or (away if isinstance(error, Transient) else "") or mend, "mend")
