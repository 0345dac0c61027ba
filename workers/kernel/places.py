"""Places that a setting names, each perhaps of one account: `acct_123=s3://bucket/folder`."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

METER_EVENTS: Final = "meter-events"
"""The place in SUBMIT_TO that is no folder: Stripe's meter events API, which serves every account."""

DASHBOARD: Final = "dashboard"
"""The place in SUBMIT_TO that is no folder: a person uploads parts in Stripe's Dashboard."""

Places = Mapping[str | None, tuple[str, ...]]
"""Places by the account that they belong to; None is the account of our own API key."""

_TABLE: Final = re.compile(r"(postgres(ql)?|sqlite)(\+\w+)?://")
_PASSWORD: Final = re.compile("//[^/@]*:[^/@]*@")
_OF_ACCOUNT: Final = re.compile(r"(?P<account>[^/:.=]*)=(?P<place>.*)")
_ACCOUNT: Final = re.compile(r"acct_[A-Za-z0-9_]+")


def is_table(place: str) -> bool:
    """Tell whether a place is a table of a database, whose address may carry a password."""
    return _TABLE.match(place) is not None


def has_password(place: str) -> bool:
    """Tell whether a password stands in an address."""
    return _PASSWORD.search(place) is not None


def by_account(entries: Iterable[str]) -> Places:
    """Return the places of each account, in the order of the entries. Raises ValueError for a malformed entry."""
    places: dict[str | None, list[str]] = {}
    for entry in entries:
        account, place = _read(entry)
        places.setdefault(account, []).append(place)
    return {account: tuple(dict.fromkeys(named)) for account, named in places.items()}


def require_targets(places: Places) -> None:
    """Raise ValueError where an account has more places to submit to than a folder and the API."""
    for account, named in places.items():
        if len([place for place in named if place != METER_EVENTS]) > 1:
            raise ValueError(f"{account or 'our own account'} has several folders, and corrected usage goes to one")


def _read(entry: str) -> tuple[str | None, str]:
    found = _OF_ACCOUNT.fullmatch(entry)
    if found is None:
        return None, entry
    account, place = found["account"].strip(), found["place"].strip()
    if not _ACCOUNT.fullmatch(account) or not place:
        shown = "an entry" if "://" in place else repr(entry)  # it may carry a password
        folder = "" if "://" in place else f", ./{entry} for a folder"
        raise ValueError(f"{shown} names no place: write acct_…=place for a connected account{folder}")
    return account, place
