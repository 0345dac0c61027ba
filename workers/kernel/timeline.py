"""A case's journal in plain words: each entry is a sentence of what happened, and who did it if a person did."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from workers.kernel.counting import counted
from workers.kernel.ledger.journal import FOUND_BY, Bucket, EntryKind, Found
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.unconfirmed import RELEASED, UNCONFIRMED

OURS: Final = "metermend"
"""The actor of what no person did."""
_REASONS_SHOWN: Final = 3

_FOUND: Final[Mapping[str, str]] = {
    Found.EXACT: "as many as Stripe has counted",
    Found.CERTAIN: "of a kind that Stripe can never have accepted",
    Found.PROVED: "and Stripe's totals are without them",
}
_CONFIRMED_BY: Final[Mapping[str, str]] = {
    "verdict": "Stripe says so",
    "summaries": "Stripe's totals have grown by them",
    "silence": "Stripe has not refused them in time",
    "target": "Metronome says so",
}
_OF_ONE: Final[Mapping[str, str]] = {"are": "is", "were": "was", "wait": "waits", "become": "becomes", "them": "it"}
_PLURAL: Final = re.compile(rf"\b({'|'.join(_OF_ONE)})\b")


@dataclass(frozen=True)
class Happening:
    """One line of a timeline. `number` is the entry's."""

    number: int
    at: datetime
    sentence: str


def timeline(entries: Sequence[EntryRow]) -> Iterator[Happening]:
    """Yield what happened to a case, the oldest first."""
    for entry in entries:
        yield Happening(entry.number, entry.at, sentence_of(entry))


def sentence_of(entry: EntryRow) -> str:
    """Return what an entry says, in a sentence without its full stop."""
    said = _SENTENCES[EntryKind(entry.kind)](entry) if entry.kind in set(EntryKind) else entry.kind
    by = "" if entry.actor == OURS else f", by {entry.actor}"
    why = entry.detail.get("why")
    return f"{said}{by}{f': {why}' if why else ''}"


def _records(entry: EntryRow, words: str) -> str:
    """Return how many records, and what of them: `words` as they are said of several, `are billed`."""
    said = f"{counted(entry.records, 'record')} {words}"
    return _PLURAL.sub(lambda word: _OF_ONE[word[0]], said) if entry.records == 1 else said


def _seen(entry: EntryRow) -> str:
    if entry.record_set is None:
        return f"Stripe counts {counted(entry.records, 'record')} and names none of them"
    return f"Stripe refused {counted(entry.records, 'record')}"


def _located(entry: EntryRow) -> str:
    how = _FOUND.get(str(entry.detail.get(FOUND_BY)))
    return _records(entry, "that were only counted were found in the usage files") + (f", {how}" if how else "")


def _quarantined(entry: EntryRow) -> str:
    stopped = "stopped before being sent, " if entry.from_bucket == Bucket.SUBMITTED else ""
    reasons = sorted(entry.detail.get("reasons", {}).items(), key=lambda item: (-item[1], item[0]))
    named = [f"{slug.replace('_', ' ')} ({records:,})" for slug, records in reasons[:_REASONS_SHOWN] if slug]
    more = [f"{len(reasons) - _REASONS_SHOWN} more reasons"] if len(reasons) > _REASONS_SHOWN else []
    why = f": {', '.join([*named, *more])}" if named else ""
    return _records(entry, f"{stopped}wait for a person") + why


def _held(entry: EntryRow) -> str:
    if RELEASED in entry.detail:
        return _records(entry, "that are unconfirmed are let go once more")
    return _records(entry, "stood at Stripe already and wait for a person")


def _confirmed(entry: EntryRow) -> str:
    how = _CONFIRMED_BY.get(str(entry.detail.get("by")))
    return _records(entry, f"are confirmed: {how}" if how else "are confirmed")


def _reopened(entry: EntryRow) -> str:
    if entry.to_bucket == Bucket.QUARANTINED:
        was = (entry.from_bucket or "").replace("_", " ")
        return _records(entry, f"that were {was} wait for a person again")
    return _records(entry, "are planned again")


def _noted(entry: EntryRow) -> str:
    if UNCONFIRMED in entry.detail and entry.detail.get("by") == "target":
        return "Metronome does not show all of what was sent: the rest is unconfirmed"
    if UNCONFIRMED in entry.detail:
        return "Stripe's totals have not grown by what was sent: it is unconfirmed"
    if "look_again" in entry.detail:
        return "the usage files are looked through once more"
    if entry.event_id is not None:
        return "the same failed-records file was told of once more: nothing in it is new"
    return "what metermend knows of the case was noted"


def _corrected(entry: EntryRow) -> str:
    reference = entry.detail.get("reference")
    return _records(entry, "were billed otherwise") + (f" ({reference})" if reference else "")


def _of_records(words: str) -> Callable[[EntryRow], str]:
    return lambda entry: _records(entry, words)


_SENTENCES: Final[Mapping[EntryKind, Callable[[EntryRow], str]]] = {
    EntryKind.SEEN: _seen,
    EntryKind.REVALUED: lambda _: "quantities of refused records were read",
    EntryKind.PLANNED: _of_records("were repaired"),
    EntryKind.DEFERRED: _of_records("become valid later and wait until then"),
    EntryKind.QUARANTINED: _quarantined,
    EntryKind.INTENDED: _of_records("are about to be sent"),
    EntryKind.SENT: _of_records("were sent to Stripe"),
    EntryKind.CONFIRMED: _confirmed,
    EntryKind.REFUSED: _of_records("were refused again after having been sent"),
    EntryKind.HELD: _held,
    EntryKind.REOPENED: _reopened,
    EntryKind.LOCATED: _located,
    EntryKind.APPROVED: _of_records("were approved for what was asked"),
    EntryKind.UNDONE: _of_records("were taken back from Stripe"),
    EntryKind.CORRECTED: _corrected,
    EntryKind.WRITTEN_OFF: _of_records("were written off: nobody is billed for them"),
    EntryKind.REMOVED: lambda _: "the files of this case were removed after their time",
    EntryKind.ERASED: _of_records("lost what told whose they are: a customer was erased"),
    EntryKind.NOTED: _noted,
}
