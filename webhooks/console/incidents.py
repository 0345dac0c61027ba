"""Incidents: what people were told of as one, with its cases."""

from flask import abort, render_template

from webhooks.console import address
from webhooks.console.address import PAGE_LENGTH, the_ledger
from workers.kernel.ledger.case_list import CaseFilter


def incident_list() -> str:
    """List incidents, those of the newest cases first."""
    incidents = the_ledger().incidents
    found = incidents.page(PAGE_LENGTH, address.place())
    return render_template(
        "console/incidents.html",
        incidents=found.rows,
        titles=incidents.titles(found.rows),
        earlier=address.earlier(found.after),
    )


def incident_page(incident_id: str) -> str:
    """Show an incident and its cases, the last changed first."""
    ledger = the_ledger()
    incident = ledger.incidents.get(incident_id) or abort(404)
    found = ledger.case_list.page(CaseFilter(incident=incident_id), limit=PAGE_LENGTH, after=address.place())
    return render_template(
        "console/incident.html",
        incident=incident,
        titles=ledger.incidents.titles([incident]),
        at_risk=ledger.money.at_risk(incident_id),
        now=address.now(),
        cases=found.rows,
        earlier=address.earlier(found.after),
    )
