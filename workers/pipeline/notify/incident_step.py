"""What whoever is told of an incident should do next: a sentence, the exact command, and the pages to decide on."""

from collections.abc import Mapping, Sequence
from typing import Final

from workers.alerts import NextStep
from workers.kernel.codes import Code
from workers.kernel.ledger.incidents import Incident
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.case_key import AUDIT
from workers.pipeline.context import Context
from workers.pipeline.notify.case_status import CaseStatus
from workers.pipeline.notify.pages import page

_UNCONFIRMED: Final = (
    "Compare the unconfirmed usage with Stripe's summaries: it was sent, and they have not grown by it. "
    "It is looked for again by itself, and must not be sent a second time."
)
_MAP_CUSTOMER: Final = ("map_customer", "Map a customer", "metermend map customer OLD NEW")
_MAP_METER: Final = ("map_meter", "Map an event name", "metermend map meter OLD NEW")
_MAPS: Final[Mapping[str, tuple[str, str, str]]] = {
    Code.CUSTOMER_NOT_FOUND: _MAP_CUSTOMER,
    Code.NO_METER: _MAP_METER,
    Code.ARCHIVED_METER: _MAP_METER,
}
"""Code -> the form of the console, its label, and the command that mends all records of it at once."""
_FORMS: Final = {"retry": "Plan anew", "corrected": "Billed otherwise", "write_off": "Write off"}
"""The forms that fit whatever waits: name -> label."""


def next_step(context: Context, incident: Incident, statuses: Sequence[CaseStatus]) -> NextStep | None:
    """Return what is to be done about an incident whose cases stand like this; None while nothing is."""
    link = page(context, _page_of(incident, statuses))
    if any(reason.code == AUDIT for status in statuses for reason in status.reasons):
        compare = "Compare the customer's day in Stripe with your records, and bill or take back the difference."
        return NextStep(compare, "metermend audit", link)
    if any(status.balance[Bucket.QUARANTINED].records for status in statuses):
        return _decide(context, incident, statuses, link)
    only = statuses[0].case_id if len(statuses) == 1 else None
    if any(status.unsent for status in statuses):
        what = f"Name a place for {incident.account} in SUBMIT_TO" if incident.account else "Set SUBMIT_TO"
        return NextStep(f"{what} so that the repaired records can be sent.", "metermend doctor", link)
    if any(status.unconfirmed for status in statuses):
        return NextStep(_UNCONFIRMED, f"metermend case show {only}" if only else "metermend cases", link)
    if all(status.settled for status in statuses):
        return NextStep("Nothing to do.", f"metermend prove {only}" if only else "metermend prove", link)
    return None


def _page_of(incident: Incident, statuses: Sequence[CaseStatus]) -> str:
    return f"/cases/{statuses[0].case_id}" if len(statuses) == 1 else f"/cases?incident={incident.id}"


def _decide(context: Context, incident: Incident, statuses: Sequence[CaseStatus], link: str | None) -> NextStep:
    codes = {reason.code for status in statuses for reason in status.reasons}
    maps = list(dict.fromkeys(_MAPS[code] for code in sorted(codes) if code in _MAPS))
    say = "".join(f"say who is meant (`{command}`), or " for _, _, command in maps)
    if len(statuses) > 1:
        read = f"Look at the cases (`metermend cases --incident {incident.id}`) and the records of one"
        mend = f"(`metermend quarantine CASE`), {say}mend their cause, then plan all again."
        return NextStep(f"{read} {mend}", f"metermend retry {incident.id}", link)
    case_id = statuses[0].case_id
    read = f"Read the quarantined records (`metermend quarantine {case_id}`), {say}mend their cause"
    forms = {label: name for name, label, _ in maps} | {label: name for name, label in _FORMS.items()}
    return NextStep(
        f"{read}, then plan them again.", f"metermend retry {case_id}", link, _forms_of(context, case_id, forms)
    )


def _forms_of(context: Context, case_id: str, forms: Mapping[str, str]) -> dict[str, str]:
    """Return label -> address of the forms on a case's page."""
    found = {label: page(context, f"/cases/{case_id}?act={name}#decide") for label, name in forms.items()}
    return {label: address for label, address in found.items() if address}
