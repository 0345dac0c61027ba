"""Which usage files there are at the moment, over all places that the sender names."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import PurePath
from typing import Final

from workers.kernel.clock import Clock
from workers.kernel.files import is_ours
from workers.kernel.storage import Store, StoredObject

LOOK_BACK: Final = timedelta(days=36)
"""Usage older than 35 days cannot be billed any more (Stripe docs, "Record usage with the API"); a day to spare."""
LISTING_SECONDS: Final = 5.0
"""How long a listing serves. A lookup that misses something lists anew whatever its age."""

_USAGE_SUFFIXES: Final = frozenset({"", ".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson"})
_COMPRESSED_SUFFIXES: Final = frozenset({".gz", ".zst"})


@dataclass(frozen=True)
class SourceFile:
    """One version of one of the sender's files."""

    store: Store
    stored: StoredObject

    @property
    def location(self) -> str:
        """Its full address."""
        return self.store.location(self.stored.key)

    @property
    def version(self) -> str:
        """24 hex digits for this content at this place; another content has others."""
        text = f"{self.location}\n{self.stored.etag}\n{self.stored.size}\n{self.stored.last_modified}"
        return sha256(text.encode()).hexdigest()[:24]

    @property
    def may_be_usage(self) -> bool:
        """Whether its name is one that usage files have."""
        path = PurePath(self.stored.name)
        suffix = PurePath(path.stem).suffix if path.suffix.lower() in _COMPRESSED_SUFFIXES else path.suffix
        return suffix.lower() in _USAGE_SUFFIXES


class Listing:
    """Lists every store, and keeps the answer for a short while.

    `empty_places` are the addresses under which there was no file at all: most likely a wrong setting.
    """

    def __init__(self, stores: Sequence[Store], clock: Clock) -> None:
        self._stores = stores
        self._clock = clock
        self._files: tuple[SourceFile, ...] = ()
        self._listed_at = float("-inf")
        self.empty_places: tuple[str, ...] = ()

    def files(self, *, not_before: float | None = None, until: datetime | None = None) -> tuple[SourceFile, ...]:
        """Return the sender's files of the last 36 days, the oldest first.

        The listing is at most `LISTING_SECONDS` old, no older than `not_before` on the monotonic clock, and shows
        all that was written `until` then.
        """
        started = time.monotonic()
        oldest = started - LISTING_SECONDS if not_before is None else not_before
        if until is not None:
            oldest = max(oldest, started - max(0.0, (self._clock() - until).total_seconds()))
        if self._listed_at < oldest:
            self._files = self._list()
            self._listed_at = started
        return self._files

    def at(self, location: str) -> SourceFile | None:
        """Return the file at an address, of a listing that serves at the moment."""
        return next((file for file in self.files() if file.location == location), None)

    def _list(self) -> tuple[SourceFile, ...]:
        since = self._clock() - LOOK_BACK
        found, empty = [], []
        for store in self._stores:
            senders = [
                stored for stored in store.list() if not is_ours(stored.name) and not stored.name.startswith(".")
            ]
            found += [SourceFile(store, each) for each in senders if each.size and each.last_modified >= since]
            if not senders:
                empty.append(store.url)
        self.empty_places = tuple(empty)
        return tuple(sorted(found, key=lambda file: (file.stored.last_modified, file.location)))
