"""Whom and what an incident is about, in lines for whoever is told of it."""

from collections.abc import Mapping
from typing import Final

from workers.kernel.ledger.case_facts import NameKind
from workers.kernel.ledger.concerned import Names, concerned
from workers.kernel.ledger.incidents import Incident
from workers.pipeline.context import Context

_LABELS: Final[Mapping[NameKind, str]] = {
    NameKind.CUSTOMER: "Customers",
    NameKind.FILE: "Files",
    NameKind.METER: "Meters",
}


def about_of(context: Context, incident: Incident) -> dict[str, str]:
    """Return label -> what: its customers, files and meters."""
    names = concerned(context.ledger.database, incident.id)
    return {label: listed(names[kind]) for kind, label in _LABELS.items() if kind in names}


def listed(names: Names) -> str:
    """Write a few names and how many more there are: `cus_1, cus_2, cus_3 and 12 more`."""
    more = names.count - len(names.few)
    if names.at_least:
        return f"{', '.join(names.few)} and at least {more:,} more"
    return ", ".join(names.few) + (f" and {more:,} more" if more else "")
