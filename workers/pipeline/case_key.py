"""What a case is about, and the key that leads every notice of one failure to one case.

Stripe may send two event objects for one change, and redelivers what it believes lost, so the key names the failure
and not the event: the import set, or the meter, validation window and code.
"""

from typing import Final

from workers.kernel.ledger.case import VALIDATION_REPORT, Failure
from workers.kernel.ledger.events import StoredEvent

WHOLE_FILE: Final = "whole_file"
"""A file that was refused as a whole for something that reading it has cured, such as the name of a header."""
UNEXPLAINED_FILE: Final = "unexplained_file"
"""A file that was refused as a whole for a reason that cannot be seen in it."""
FAILED_RECORDS: Final = "failed_records"
"""Rows of a file that were refused for their format; Stripe lists all of them."""
IMPORTED: Final = (WHOLE_FILE, UNEXPLAINED_FILE, FAILED_RECORDS)
COUNTER_ENTRY: Final = "counter_entry"
"""No failure of the sender's: usage that takes back what we have billed. Also the code that it is counted under."""
COUNTERED: Final = "countered"
"""In the entry that plans a counter-entry: the target that the usage went to."""
AUDIT: Final = "audit"
"""No failure that Stripe has told: its total of a customer's day differs. Also the code that this is counted under.
"""


def of_import_set(
    event: StoredEvent, import_set_id: str, *, kind: str, file_name: str | None, reason: str | None
) -> Failure:
    """Return the failure of an import set that an event tells of."""
    name = file_name or import_set_id
    rows = f"rows of {name} were refused for their format"
    whole = f"{name} was refused whole: {(reason or 'no reason given').rstrip('.')}"
    return Failure(
        key=f"import_set:{event.account or ''}:{import_set_id}",
        kind=kind,
        livemode=event.livemode,
        account=event.account,
        summary=rows if kind == FAILED_RECORDS else whole,
        import_set_id=import_set_id,
    )


def of_given_list(event: StoredEvent, digest: str, name: str) -> Failure:
    """Return the failure that a given failed-records file tells, where nobody says of which import set it is."""
    return Failure(
        key=f"failed_records:{event.account or ''}:{digest}",
        kind=FAILED_RECORDS,
        livemode=event.livemode,
        account=event.account,
        summary=f"rows of {name} were refused for their format",
    )


def of_report(
    event: StoredEvent,
    code: str,
    *,
    meter_id: str | None,
    event_name: str | None,
    window_start: str | None,
    window_end: str | None,
) -> Failure:
    """Return the failure of one code in one meter's validation window, as if it stood alone.

    Times are RFC 3339; without them the event stands for the window.
    """
    return Failure(
        key=f"report:{event.account or ''}:{meter_id or event_name or ''}:{window_start or event.id}:{code}",
        kind=VALIDATION_REPORT,
        livemode=event.livemode,
        account=event.account,
        summary=summary_of_report(code, event_name or meter_id),
        code=code,
        meter_id=meter_id,
        event_name=event_name,
        window_start=window_start,
        window_end=window_end,
    )


def summary_of_report(code: str, subject: str | None) -> str:
    """Say in a line what failed; `subject` is the event name, or the meter's id."""
    return f"{code} on {subject or 'an unknown meter'}"
