"""Places that a setting names, each perhaps of one account: `acct_123=s3://bucket/folder`."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

METER_EVENTS: Final = "meter-events"
METER_EVENT_STREAM: Final = "meter-event-stream"
APIS: Final = frozenset({METER_EVENTS, METER_EVENT_STREAM})
"""Stripe's APIs for usage, which serve every account."""
METRONOME: Final = "metronome"
"""Metronome, which bills by itself: what goes there shows in none of Stripe's totals."""
SERVICES: Final = APIS | {METRONOME}
"""The places in SUBMIT_TO that are called."""
DASHBOARD: Final = "dashboard"
"""The place in SUBMIT_TO that is a person: he uploads parts in Stripe's Dashboard, where others have a folder."""

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
    """Raise ValueError where usage could go to two of a kind, or be billed by two.

    An account has a folder, one of Stripe's APIs, or both; or it has Metronome, which is our own account's alone.
    """
    for account, named in places.items():
        if METRONOME in named and (account or len(named) > 1):
            raise ValueError(f"{METRONOME} bills our own account's usage alone, and nothing else stands beside it")
        if len([place for place in named if place not in SERVICES]) > 1:
            raise ValueError(f"{account or 'our own account'} has several folders, and corrected usage goes to one")
    if len(apis_in(places)) > 1:
        raise ValueError(f"{' and '.join(sorted(APIS))} are both named, and usage goes by one of them")


def is_at_stripe(target: str) -> bool:
    """Tell whether a target, by its name, feeds Stripe's meters, so that their totals show what went there."""
    return target != METRONOME


def apis_in(places: Places) -> frozenset[str]:
    """Return those of Stripe's APIs that are named, for whichever account."""
    return APIS & {place for named in places.values() for place in named}


def uploading_by_hand(places: Places) -> list[str | None]:
    """Return the accounts whose corrected usage people upload in the Dashboard."""
    return [account for account, named in places.items() if DASHBOARD in named]


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
