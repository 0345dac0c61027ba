"""If these fail, what a company falls back on in its worst hour is not there, or bills its customers twice."""

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from tests.servers import PostgresServer
from workers.archive import Archive
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import Ledger, connect
from workers.kernel.ledger.copy import copy_ledger
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.events import NewEvent
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.ledger.schema import NEWEST, revision
from workers.kernel.ledger.tables import checkpoints, metadata, sessions
from workers.kernel.storage import open_store
from workers.pipeline.audit.prove import prove
from workers.pipeline.restores import RESTORES
from workers.pipeline.upkeep import backup
from workers.pipeline.upkeep.backup import Place, Restored, back_up, restore

pytestmark = pytest.mark.xdist_group("s3")


@pytest.fixture
def book(ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Book:
    """An event, a login, and a case of six of which four were sent."""
    ledger.events.record(NewEvent("evt_1", "thin", "v1.billing.meter.no_meter_found", False, b'{"id": "\xc3\xa9"}'))
    ledger.sessions.open(timedelta(hours=1))
    book = Book(a_context(ledger, tmp_path, clock))
    book.move(EntryKind.QUARANTINED, [4, 5], reason="ambiguous")
    book.send([0, 1, 2, 3])
    return book


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.at(str(tmp_path / "backups"))


@pytest.fixture
def empty_ledger(
    ledger: Ledger, request: pytest.FixtureRequest, tmp_path: Path, clock: FrozenClock
) -> Iterator[Ledger]:
    """A new database of the other kind than the one that is backed up."""
    url = f"sqlite:///{tmp_path}/new.db"
    if ledger.database.engine.dialect.name == "sqlite":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.create(f"new_{tmp_path.name}")
    made = connect(url, clock)
    yield made
    made.close()


def backed_up(book: Book, place: Place) -> backup.BackedUp:
    context = book.context
    return back_up(context.ledger, context.archive, place, context.settings.scratch_dir, context.clock())


def restored(place: Place, ledger: Ledger, folder: Path, clock: FrozenClock, name: str | None = None) -> Restored:
    return restore(place, name, ledger, open_store(str(folder / "new-archive")), folder / "new-scratch", clock())


def rows(database: Database, *, but: tuple[sa.Table, ...] = ()) -> dict[str, set[str]]:
    """All that a ledger holds: table -> its rows."""
    with database.read() as connection:
        return {
            table.name: {str(row) for row in connection.execute(sa.select(table))}
            for table in metadata.sorted_tables
            if table not in but
        }


def breaches(ledger: Ledger, archive: Archive) -> list[Any]:
    return [one.breach for one in prove(ledger, archive) if one.breach]


def is_empty_database(database: Database) -> bool:
    with database.read() as connection:
        return sa.inspect(connection).get_table_names() == []


def set_revision(database: Database, number: str) -> str | None:
    """Let a ledger be at another revision; return at which it was."""
    with database.write() as connection:
        before = revision(connection)
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :number"), {"number": number})
    return before


def in_place(place: Place, folder: Path, name: str | None = None) -> tuple[Ledger, Archive]:
    """Ledger and archive as they lie in the place, to be read there."""
    file = shutil.copy(place.ledgers.local_path(place.chosen(name)) or "", folder / "looked-at.db")
    return connect(f"sqlite:///{file}"), Archive(place.files, folder / "new-scratch")


@pytest.mark.parametrize("where", ["directory", "s3"])
def test_what_is_restored_is_what_was_backed_up_whatever_the_ledger_runs_on(
    request: pytest.FixtureRequest, book: Book, empty_ledger: Ledger, tmp_path: Path, clock: FrozenClock, where: str
) -> None:
    """Every row, every file; and the note that a restored ledger does not know what was sent since."""
    place = Place.at(str(tmp_path / "backups") if where == "directory" else request.getfixturevalue("s3"))
    assert backed_up(book, place).damaged == []
    clock.turn(days=3)
    found = restored(place, empty_ledger, tmp_path, clock)
    but = (sessions, checkpoints)
    assert rows(empty_ledger.database, but=but) == rows(book.context.ledger.database, but=but)
    assert breaches(empty_ledger, Archive(open_store(str(tmp_path / "new-archive")), tmp_path / "scratch")) == []
    assert found.lost.until - found.lost.since == timedelta(days=3)
    assert len(empty_ledger.checkpoints.get(RESTORES)) == 1
    assert rows(empty_ledger.database)["sessions"] == set(), "a session that was ended since would be open again"


def changes_around(change: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *, before: bool) -> None:
    """Let something happen while a backup is made, before or after the ledger is read."""

    def copied(source: Database, target: Database) -> None:
        if before:
            change()
        copy_ledger(source, target)
        if not before:
            change()

    monkeypatch.setattr(backup, "copy_ledger", copied)


def test_a_file_that_comes_while_a_backup_is_made_is_in_it(
    book: Book, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The restored ledger would name records that nobody has."""
    changes_around(lambda: book.move(EntryKind.WRITTEN_OFF, [4]), monkeypatch, before=True)
    backed_up(book, place)
    assert breaches(*in_place(place, tmp_path)) == []


def test_a_file_that_retention_removes_while_a_backup_is_made_is_in_it(
    book: Book, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = book.context.archive

    def remove() -> None:
        for name in archive.names(book.case_id):
            archive.delete(name)

    changes_around(remove, monkeypatch, before=False)
    backed_up(book, place)
    assert breaches(*in_place(place, tmp_path)) == []


def test_a_second_backup_adds_what_is_new_and_the_first_can_still_be_restored(
    book: Book, place: Place, empty_ledger: Ledger, tmp_path: Path, clock: FrozenClock
) -> None:
    """A mistake that was backed up, too, could not be undone any more."""
    first, before = backed_up(book, place), rows(book.context.ledger.database)["entries"]
    clock.turn(hours=1)
    book.move(EntryKind.WRITTEN_OFF, [4])
    second = backed_up(book, place)
    assert (second.new, first.new > 1) == (1, True)
    restored(place, empty_ledger, tmp_path, clock, Path(first.ledger).name)
    assert rows(empty_ledger.database)["entries"] == before


def test_a_damaged_file_is_named_and_keeps_nothing_else_from_being_restored(
    book: Book, place: Place, empty_ledger: Ledger, tmp_path: Path, clock: FrozenClock
) -> None:
    """Copied on, damage would take the place of the sound file for ever."""
    backed_up(book, place)
    spoilt = next(found.key for found in place.files.list() if "moved" in found.key)
    Path(place.files.location(spoilt)).write_bytes(b"damaged")
    assert restored(place, empty_ledger, tmp_path, clock).damaged == [place.files.location(spoilt)]
    there = {found.key for found in open_store(str(tmp_path / "new-archive")).list()}
    assert there == {found.key for found in place.files.list()} - {spoilt}
    assert rows(empty_ledger.database)["entries"] == rows(book.context.ledger.database)["entries"]


def test_a_ledger_that_is_not_empty_and_a_backup_that_is_none_are_refused(
    book: Book, place: Place, empty_ledger: Ledger, tmp_path: Path, clock: FrozenClock
) -> None:
    """What happened since the backup would be gone from the only ledger that knows it."""
    backed_up(book, place)
    before = rows(book.context.ledger.database)
    with pytest.raises(InputUnusable, match=r"the ledger is not empty - restore into a new database"):
        restored(place, book.context.ledger, tmp_path, clock)
    assert rows(book.context.ledger.database) == before
    set_revision(book.context.ledger.database, "0014")
    with pytest.raises(InputUnusable, match="the ledger is not empty"):
        restored(place, book.context.ledger, tmp_path, clock)
    assert set_revision(book.context.ledger.database, NEWEST) == "0014", "a ledger in use was migrated by mistake"
    with pytest.raises(InputUnusable, match=r"there is no backup yesterday\.db - there is 2026-11-21T093000Z\.db"):
        restored(place, empty_ledger, tmp_path, clock, "yesterday.db")
    with pytest.raises(InputUnusable, match=r"there is no backup - name what `metermend backup` was given"):
        restored(Place.at(str(tmp_path / "nowhere")), empty_ledger, tmp_path, clock)
    assert is_empty_database(empty_ledger.database)
