"""Which usage files there are at the moment, over all places that the sender names.

A listing that took long, because a place holds very many objects, is dear: it serves for ten times as long, so that
nobody lists for more than a tenth of the time, and the processes of a machine share it. One that took a moment is
made anew at any miss. Who must not overlook a file says since when it has to be seen, and waits for that.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Final

from workers.kernel.clock import Clock
from workers.kernel.errors import Transient
from workers.kernel.files import is_ours, written_whole
from workers.kernel.storage import Store, StoredObject
from workers.kernel.storage.directory import disk_errors
from workers.sources.files import LOOK_BACK, SourceFile, oldest_first

LISTING_SECONDS: Final = 5.0
"""How long a listing serves at least, but where something is missed in it."""
MOMENT_SECONDS: Final = 0.5
"""A listing that took no longer is made anew for each lookup that misses something."""
_SHARE: Final = 10
"""A listing that took longer serves for so many times what it took."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)


@dataclass(frozen=True)
class Listed:
    """What a listing showed, the oldest file first.

    `empty_places` are the addresses under which there was no file at all: most likely a wrong setting. `at` is when
    it began, in epoch seconds of this machine, and `took` how many seconds it went on.
    """

    files: tuple[SourceFile, ...] = ()
    empty_places: tuple[str, ...] = ()
    at: float = float("-inf")
    took: float = 0.0

    @property
    def is_dear(self) -> bool:
        """Whether it took too long to be made anew whenever something is missed."""
        return self.took > MOMENT_SECONDS

    @property
    def serves(self) -> float:
        """How many seconds it serves."""
        return max(LISTING_SECONDS, _SHARE * self.took) if self.is_dear else LISTING_SECONDS

    def is_due(self, now: float, wanted: float) -> bool:
        """Tell whether another is to be made, given since when it should have been made."""
        stale = not now - self.serves <= self.at <= now
        return stale or (self.at < wanted and not self.is_dear)

    @cached_property
    def by_location(self) -> dict[str, SourceFile]:
        """The files by their addresses."""
        return {file.location: file for file in self.files}


class Listing:
    """Lists the sender's files of the last 36 days, and keeps the answer; dear ones are shared through `directory`.

    All that list raise Transient and SettingsUnusable as stores do.
    """

    def __init__(self, stores: Sequence[Store], clock: Clock, directory: Path) -> None:
        self._stores = stores
        self._clock = clock
        places = sha256("\n".join(store.url for store in stores).encode()).hexdigest()[:24]
        self._shared = directory / f"listing-{places}.jsonl"
        self._last = Listed()

    def current(self, wanted: float = float("-inf")) -> Listed:
        """Return a listing that still serves; it was made since `wanted` (epoch seconds), unless it is dear."""
        now = time.time()
        return self._made(lambda listed: listed.is_due(now, wanted))

    def since(self, moment: datetime) -> Listed:
        """Return a listing that was made since a moment; raises Transient while that would be too dear."""
        now = time.time()
        wanted = min(moment.timestamp(), now)
        listed = self.current(wanted)
        if listed.at < wanted:
            wait = listed.at + listed.serves - now
            raise Transient(
                f"the usage files are listed anew in {wait:.0f} s: it takes {listed.took:.0f} s", retry_after=wait
            )
        return listed

    def newest(self) -> Listed:
        """Return a listing that is at most `LISTING_SECONDS` old, however dear that is."""
        now = time.time()
        return self._made(lambda listed: not now - LISTING_SECONDS <= listed.at <= now)

    def renew(self) -> Listed:
        """Return a listing, made anew where half of its time is over: so that nobody else has to wait for one."""
        now = time.time()
        return self._made(lambda listed: listed.is_due(now + listed.serves / 2, float("-inf")))

    def _made(self, is_due: Callable[[Listed], bool]) -> Listed:
        """Return a listing that is not due: the last, that of another process, or one that is made."""
        if is_due(self._last):
            with suppress(OSError, ValueError, KeyError, IndexError):
                self._last = max(self._last, self._read(), key=lambda listed: listed.at)
        if is_due(self._last):
            self._last = self._list()
            if self._last.is_dear:
                self._share(self._last)
        return self._last

    def _list(self) -> Listed:
        at, started = time.time(), time.monotonic()
        since = self._clock() - LOOK_BACK
        found: dict[str, SourceFile] = {}  # by address: one place may lie in another
        empty = []
        for store in self._stores:
            is_empty = True
            for stored in _of_sender(store):
                is_empty = False
                if stored.size and stored.last_modified >= since:
                    found.setdefault(store.location(stored.key), SourceFile(store, stored))
            if is_empty:
                empty.append(store.url)
        return Listed(tuple(oldest_first(found.values())), tuple(empty), at, time.monotonic() - started)

    def _share(self, listed: Listed) -> None:
        numbers = {store.url: number for number, store in enumerate(self._stores)}
        self._shared.parent.mkdir(parents=True, exist_ok=True)
        with disk_errors(str(self._shared)), written_whole(self._shared) as path, path.open("w") as lines:
            head = {"at": listed.at, "took": listed.took, "empty": listed.empty_places, "files": len(listed.files)}
            lines.write(json.dumps(head) + "\n")
            for file in listed.files:
                stored = file.stored
                ticks = (stored.last_modified - _EPOCH) // _TICK
                line = (numbers[file.store.url], stored.key, stored.size, ticks, stored.etag)
                lines.write(json.dumps(line) + "\n")

    def _read(self) -> Listed:
        with self._shared.open() as lines:
            head = json.loads(next(lines, ""))
            files = []
            for line in lines:
                number, key, size, ticks, etag = json.loads(line)
                files.append(
                    SourceFile(self._stores[number], StoredObject(key, size, _EPOCH + ticks * _TICK, etag))
                )
        return Listed(tuple(files), tuple(head["empty"]), head["at"], head["took"])


def _of_sender(store: Store) -> Iterator[StoredObject]:
    return (stored for stored in store.list() if not is_ours(stored.name) and not stored.name.startswith("."))
