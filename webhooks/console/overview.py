"""The first page: what is at risk and until when, what was recovered, what needs a person, how the service is."""

from datetime import timedelta
from typing import Final

from flask import current_app, render_template

from webhooks.console import charts
from webhooks.console.address import now, the_ledger
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.case_list import CaseFilter, CaseOrder
from workers.kernel.service_health import faults

DAYS: Final = 30
"""Days that the charts show."""
WEEK: Final = timedelta(days=7)
_SHOWN: Final = 6
"""Cases of each list."""


def overview() -> str:
    """Show how it stands, from what is lost first to what has lately changed."""
    ledger, present = the_ledger(), now()
    totals, days = ledger.totals.of_all(), ledger.days.last(DAYS)
    stuck = ledger.queries.stuck_cases(_SHOWN)
    wanted = CaseFilter(states=[CaseState.NEEDS_PERSON])
    needy = ledger.case_list.find(wanted, CaseOrder.RISK, _SHOWN)
    shown = {case.id for case in (*stuck, *needy)}
    return render_template(
        "console/overview.html",
        now=present,
        balance=totals.balance,
        at_risk=ledger.money.at_risk(),
        recovered=ledger.money.recovered(present - WEEK),
        unwell=[fault for fault in faults(ledger, current_app.extensions["settings"], present).values() if fault],
        seen=ledger.heartbeats.last(),
        stuck=stuck,
        needy=[case for case in needy if case.id not in {each.id for each in stuck}],
        recent=[case for case in ledger.queries.cases(limit=2 * _SHOWN) if case.id not in shown][:_SHOWN],
        case_counts=totals.states,
        event_counts=ledger.queries.event_counts(),
        waited=ledger.queries.oldest_unprocessed(),
        per_day=charts.refused_and_recovered(days),
        waiting=charts.waiting(days),
        by_code=charts.by_code(ledger.standings.by_code(present - timedelta(days=DAYS))),
    )
