"""What whoever is told of an incident should do next: a sentence, the exact command, and the pages to decide on."""

from collections.abc import Mapping, Sequence
from typing import Final

from workers.alerts import NextStep
from workers.kernel.codes import Code
from workers.kernel.ledger.incidents import Incident
from workers.kernel.ledger.journal import Bucket
from workers.kernel.reasons import UNCERTAIN
from workers.pipeline.case_key import AUDIT
from workers.pipeline.context import Context
from workers.pipeline.notify.case_status import CaseStatus
from workers.pipeline.notify.pages import page

_UNCONFIRMED: Final = (
    "Compare the unconfirmed usage with what Stripe, or Metronome, shows: it was sent, and cannot be seen there. "
    "It is looked for again by itself, and must not be sent a second time."
)
_MAP_METER: Final = ("map_meter", "Map an event name", "say which meter is meant (`metermend map meter OLD NEW`)")
_MAPS: Final[Mapping[str, tuple[str, str, str]]] = {
    Code.CUSTOMER_NOT_FOUND: (
        "map_customer",
        "Map a customer",
        "say who is meant (`metermend map customer OLD NEW`)",
    ),
    Code.NO_METER: _MAP_METER,
    Code.ARCHIVED_METER: _MAP_METER,
    Code.VALUE_NOT_FOUND: (
        "map_value_key",
        "Name the key of the quantity",
        "name the key of the quantity (`metermend map value-key METER KEY`)",
    ),
    Code.INVALID_VALUE: (
        "map_decimal_mark",
        "Say how quantities are written",
        "say how quantities are written (`metermend map decimal-mark METER MARK`)",
    ),
}
"""Code -> the form of the console, its label, and what mends all records of it at once."""
_SETTLES: Final = {"Billed otherwise": "corrected", "Write off": "write_off"}
"""Label -> the form that fits whatever waits."""


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
    reasons = [reason for status in statuses for reason in status.reasons]
    codes = sorted({reason.code for reason in reasons if reason.reason not in UNCERTAIN})
    maps = list(dict.fromkeys(_MAPS[code] for code in codes if code in _MAPS))
    say = "".join(f"{words}, or " for _, _, words in maps)
    if len(statuses) > 1:
        read = f"Look at the cases (`metermend cases --incident {incident.id}`) and the records of one"
        mend = f"(`metermend quarantine CASE`), {say}mend their cause, then retry all."
        return NextStep(f"{read} {mend}", f"metermend retry {incident.id}", link)
    case_id, forms = statuses[0].case_id, {label: name for name, label, _ in maps}
    read = f"Read the quarantined records (`metermend quarantine {case_id}`)"
    if reasons and all(reason.reason in UNCERTAIN for reason in reasons):
        look = "look in Stripe whether they are billed already, and let them go if they are not."
        answer = f"{read}, {look}", f"metermend release {case_id} --reason WHY"
        return NextStep(*answer, link, _addresses(context, case_id, {"Release": "release", **_SETTLES}))
    then = f"{read}, {say}mend their cause, then retry.", f"metermend retry {case_id}"
    return NextStep(*then, link, _addresses(context, case_id, {**forms, "Retry": "retry", **_SETTLES}))


def _addresses(context: Context, case_id: str, forms: Mapping[str, str]) -> dict[str, str]:
    """Return label -> address of the forms on a case's page."""
    found = {label: page(context, f"/cases/{case_id}?act={name}#act-{name}") for label, name in forms.items()}
    return {label: address for label, address in found.items() if address}
