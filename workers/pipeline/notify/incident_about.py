"""Whom and what an incident or a case is about, and what of it is open: in lines for whoever is told of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from workers.alerts.phrases import moment
from workers.kernel.case_title import title_of
from workers.kernel.counting import counted
from workers.kernel.ledger.appraisal import at_risk, why_lost
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.case_facts import NameKind, meters_of, open_quantities
from workers.kernel.ledger.concerned import Concerned, Names, concerned, concerned_by
from workers.kernel.ledger.incidents import Incident
from workers.kernel.ledger.journal import NOT_KNOWN, Tally
from workers.kernel.ledger.money_totals import AtRisk
from workers.kernel.money import written
from workers.kernel.rounding import rounded_tally
from workers.pipeline.context import Context

METERS_TOLD: Final = 3


def about_of(context: Context, incident: Incident) -> dict[str, str]:
    """Return label -> what: its customers and files, the quantity that is open of each meter, and its worth."""
    risk = context.ledger.money.at_risk(incident.id)
    return _lines(concerned(context.ledger.database, incident.id), risk.by_meter, _worth(risk))


def about_case(context: Context, case: Case) -> dict[str, str]:
    """Return the same of one case, with its title and by when it is lost."""
    names, open_now = concerned_by(context.ledger.database, case.id), dict(open_quantities(meters_of(case)))
    lost = {"Lost by": f"{moment(case.deadline)}: {why_lost(case)}"} if case.deadline else {}
    return {"Case": title_of(case, context.clock()), **_lines(names, open_now, written(at_risk(case))), **lost}


def _lines(names: Concerned, open_now: Mapping[str, Tally], worth: str) -> dict[str, str]:
    lines = {
        "Customers": _listed(names.get(NameKind.CUSTOMER)),
        "Files": _listed(names.get(NameKind.FILE)),
        "Meters": "" if by_meter(open_now) else _listed(_spoken(names.get(NameKind.METER))),
        "Open": by_meter(open_now),
        "At risk": worth,
    }
    return {label: line for label, line in lines.items() if line}


def by_meter(tallies: Mapping[str, Tally]) -> str:
    """Write quantities, each in the unit of its meter: over meters nothing is added."""
    known = [_quantity(name, tally) for name, tally in tallies.items() if name]
    more = len(known) - METERS_TOLD
    rest = f" and {counted(more, 'more meter')}" if more > 0 else ""
    return ", ".join(known[:METERS_TOLD]) + rest


def _quantity(name: str, tally: Tally) -> str:
    said = rounded_tally(tally)
    return f"an unknown quantity of {name}" if said == NOT_KNOWN else f"{said} {name}"


def _spoken(names: Names | None) -> Names | None:
    """Leave out the ids of meters, which nobody calls them by."""
    if names is None:
        return None
    few = [name for name in names.few if not name.startswith("mtr_")]
    return replace(names, few=few, count=names.count - len(names.few) + len(few)) if few else None


def _worth(risk: AtRisk) -> str:
    """Write what is at risk in money, and how much of it has no price; nothing where none is known."""
    unpriced = f" and {risk.unpriced:,} cases without a known price" if risk.unpriced else ""
    return f"{written(risk.money)}{unpriced}" if risk.money else ""


def _listed(names: Names | None) -> str:
    """Write a few names and how many more there are: `cus_1, cus_2, cus_3 and 12 more`."""
    if names is None:
        return ""
    more = names.count - len(names.few)
    at_least = "at least " if names.at_least else ""
    return ", ".join(names.few) + (f" and {at_least}{more:,} more" if more or names.at_least else "")
