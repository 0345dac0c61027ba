"""What happened to whom, in one line: the title of a case in the terminal, in the console and in Slack alike.

"17 records of api_requests name customers that Stripe does not know, since 10:57 UTC".
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from workers.kernel.clock import from_text
from workers.kernel.codes import MALFORMED_RECORD, Code
from workers.kernel.counting import counted
from workers.kernel.ledger.case import VALIDATION_REPORT, Case, Failure

LONGEST_NAME: Final = 60
"""Characters of a name that somebody else wrote."""

_VERBS: Final[Mapping[str, tuple[str, str]]] = {
    Code.CUSTOMER_NOT_FOUND: (
        "names a customer that Stripe does not know",
        "name customers that Stripe does not know",
    ),
    Code.NO_CUSTOMER_DEFINED: ("names no customer", "name no customer"),
    Code.DIMENSION_COUNT_TOO_HIGH: (
        "has more dimensions than Stripe takes",
        "have more dimensions than Stripe takes",
    ),
    Code.ARCHIVED_METER: ("came for a meter that is archived", "came for a meter that is archived"),
    Code.TIMESTAMP_TOO_FAR_IN_PAST: ("is older than Stripe takes", "are older than Stripe takes"),
    Code.TIMESTAMP_IN_FUTURE: ("lies in the future", "lie in the future"),
    Code.VALUE_NOT_FOUND: ("has no quantity", "have no quantity"),
    Code.INVALID_VALUE: ("has a quantity that Stripe cannot read", "have quantities that Stripe cannot read"),
    Code.VALUE_TOO_MANY_DIGITS: (
        "has a quantity of more digits than Stripe takes",
        "have quantities of more digits than Stripe takes",
    ),
    Code.MISSING_DIMENSION_PAYLOAD_KEYS: ("lacks a dimension of its meter", "lack a dimension of their meter"),
    Code.NO_METER: ("goes to no meter that Stripe has", "go to no meter that Stripe has"),
    MALFORMED_RECORD: ("is no well-formed record", "are no well-formed records"),
}
"""What one record, and what several do, by the code that they were refused for."""


def title_of(case: Case, now: datetime) -> str:
    """Return the title of a case."""
    return title(case.failure, case.balance.failed.records, since(case), now)


def title(failure: Failure, records: int, began: datetime, now: datetime) -> str:
    """Return what happened in a failure of so many records, and since when."""
    return f"{_what(failure, records)}, since {_moment(began, now)}"


def since(case: Case) -> datetime:
    """Return when it began: with the first window of Stripe's reports, else when the case was opened."""
    start = case.failure.window_start if case.failure.kind == VALIDATION_REPORT else None
    try:
        return from_text(start) if start else case.opened_at
    except ValueError:
        return case.opened_at


def _what(failure: Failure, records: int) -> str:
    refused_records = counted(records, "record")
    if failure.kind == VALIDATION_REPORT and failure.code:
        of = f" of {_short(failure.event_name or failure.meter_id or 'an unknown meter')}"
        refused = f"{'was' if records == 1 else 'were'} refused for {_short(failure.code)}"
        one, several = _VERBS.get(failure.code, (refused, refused))
        return f"{refused_records}{of} {one if records == 1 else several}"
    said = " ".join(failure.summary.split())
    if not said.startswith("rows of "):
        return f"{said} ({refused_records})"
    one_row = said.replace("rows of", "row of", 1).replace(" were refused", " was refused", 1)
    return f"{records:,} {one_row if records == 1 else said}"


def _short(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 1]}…"


def _moment(at: datetime, now: datetime) -> str:
    """Write a time as short as it is clear: of today the hour, of this year the day."""
    hour = f"{at:%H:%M} UTC"
    if at.date() == now.date():
        return hour
    return f"{at.day} {at:%b} {hour}" if at.year == now.year else f"{at.day} {at:%b %Y} {hour}"
