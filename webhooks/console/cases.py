"""The list of cases, by whatever is known of them."""

from typing import Final

from flask import redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from webhooks.console import address
from webhooks.console.address import PAGE_LENGTH, SPANS, the_ledger
from workers.kernel.codes import MALFORMED_RECORD, Code
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.case_facts import MOST_NAMES
from workers.kernel.ledger.case_list import CaseFilter, CaseOrder

CODES: Final = (*Code, MALFORMED_RECORD)
FILTERS: Final = ("code", "meter", "customer", "file", "older", "lost", "incident", "sort")
"""What the address may ask for, beside the state and the text."""


def case_list() -> ResponseReturnValue:
    """List the cases that the address asks for; an event's own id leads to its page."""
    ledger, asked = the_ledger(), address.text("q")
    if asked and asked.startswith(("evt_", "given_")) and ledger.events.known([asked]):
        return redirect(url_for("pages.event_page", event_id=asked))
    state = address.choice("state", CaseState)
    wanted = CaseFilter(
        states=[state] if state else [],
        code=address.text("code"),
        meter=address.text("meter"),
        customer=address.text("customer"),
        file=address.text("file"),
        opened_before=address.ago("older"),
        lost_before=address.ahead("lost"),
        text=asked,
        incident=address.text("incident"),
    )
    order = address.choice("sort", CaseOrder) or CaseOrder.RISK
    found = ledger.case_list.page(wanted, order, PAGE_LENGTH, address.place())
    return render_template(
        "console/cases.html",
        cases=found.rows,
        earlier=address.earlier(found.after),
        asked={name: address.text(name) or "" for name in ("q", *FILTERS)},
        chosen=address.chosen(*FILTERS),
        state=state,
        counts=ledger.queries.case_counts(),
        not_all_named=ledger.case_list.not_all_named(wanted),
        most_names=MOST_NAMES,
        codes=CODES,
        states=list(CaseState),
        orders=list(CaseOrder),
        spans=list(SPANS),
    )
