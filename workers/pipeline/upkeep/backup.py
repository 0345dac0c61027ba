"""Backups: a ledger and its archive in another place, fit to each other, and the way back.

A place is a directory or bucket. `ledgers/` holds a ledger for each backup, as an SQLite file whatever the ledger
runs on; `archive/` the files of all of them: these never change, so each is copied once.

The archive is copied before the ledger and after it. What retention removes meanwhile was there at the first turn,
what a worker adds meanwhile is there at the second; so each file that the ledger names is in the backup. The ledger
is put there last: a backup that broke off is none.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from workers.archive import Archive
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import Ledger, connect
from workers.kernel.ledger.copy import copy_ledger, is_empty
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.schema import NEWEST, revision, upgrade
from workers.kernel.storage import Store, open_store
from workers.pipeline.restores import Restore, note_restore

_NAME: Final = "%Y-%m-%dT%H%M%SZ.db"
_LARGEST: Final = 1024**4


@dataclass(frozen=True)
class Place:
    """Where backups are: their ledgers, and the files of the archive."""

    ledgers: Store
    files: Store

    @classmethod
    def at(cls, url: str) -> Self:
        """Return the place at an address. Raises SettingsUnusable."""
        return cls(open_store(f"{url.rstrip('/')}/ledgers"), open_store(f"{url.rstrip('/')}/archive"))

    def chosen(self, name: str | None) -> str:
        """Return the name of a ledger, the newest one's for None. Raises InputUnusable where there is none."""
        found = sorted(each.key for each in self.ledgers.list())
        if not found or name not in (None, *found):
            mend = f"there is {', '.join(found[-5:])}" if found else "name what `metermend backup` was given"
            raise InputUnusable(f"there is no backup {name or ''}".rstrip(), where=self.ledgers.url, mend=mend)
        return name or found[-1]


@dataclass(frozen=True)
class BackedUp:
    """Where a backup's ledger is, how many files were new in its place, and which are damaged and not in it."""

    ledger: str
    new: int
    damaged: Sequence[str]


@dataclass(frozen=True)
class Restored:
    """Which ledger was restored, what it does not know, and which files of the backup are damaged and left out."""

    ledger: str
    lost: Restore
    damaged: Sequence[str]


def back_up(ledger: Ledger, archive: Archive, place: Place, scratch_dir: Path, now: datetime) -> BackedUp:
    """Copy ledger and archive to a place. Raises what the stores raise, and LedgerUnavailable."""
    before, _ = archive.copy_to(place.files)
    with _scratch(scratch_dir) as file:
        with _ledger_in(file) as copy:
            copy_ledger(ledger.database, copy.database)
        after, damaged = archive.copy_to(place.files)
        place.ledgers.put_file(name := f"{now:{_NAME}}", file)
    return BackedUp(place.ledgers.location(name), before + after, damaged)


def restore(
    place: Place, name: str | None, ledger: Ledger, files: Store, scratch_dir: Path, now: datetime
) -> Restored:
    """Let a new ledger, and `files` as its archive, hold what a backup holds, the newest one without a `name`.

    That the ledger was restored is written down in the same transaction: no worker ever sees one without that.
    Nobody stays logged in. Raises InputUnusable where there is no such backup or the ledger is not empty, and what
    the stores raise.
    """
    chosen = place.chosen(name)
    _make_ready(ledger.database)
    with _scratch(scratch_dir) as file:
        place.ledgers.get_to_file(chosen, file, _LARGEST)
        _, damaged = Archive(place.files, scratch_dir).copy_to(files)
        with _ledger_in(file) as copy:
            lost = note_restore(copy, now)
            copy.sessions.close_all()
            copy_ledger(copy.database, ledger.database)
    return Restored(place.ledgers.location(chosen), lost, damaged)


def _make_ready(database: Database) -> None:
    """Migrate a new database; one that somebody has migrated stays as it is. Raises InputUnusable."""
    with database.read() as connection:
        found = revision(connection)
    if found is None:
        upgrade(database)
    elif found != NEWEST or not is_empty(database):
        raise InputUnusable("the ledger is not empty", where="DATABASE_URL", mend="restore into a new database")


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Name a file for a ledger that passes through."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="backup-", dir=folder) as name:
        yield Path(name) / "ledger.db"


@contextmanager
def _ledger_in(file: Path) -> Iterator[Ledger]:
    """Open the ledger in an SQLite file, new or of an earlier release, at the schema of this one."""
    ledger = connect(f"sqlite:///{file}")
    try:
        upgrade(ledger.database)
        yield ledger
    finally:
        ledger.close()
