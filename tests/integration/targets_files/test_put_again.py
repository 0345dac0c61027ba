"""A file that was begun and is not there: if these fail, it is put again and billed twice, or lost untold."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import FrozenClock
from tests.integration.targets_files.test_files import KEY, Book, outgoing
from workers.kernel.files import file_name
from workers.targets import files
from workers.targets.files import FileTarget
from workers.targets.target import Chunk, Sent, Withheld

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ALL_THREE = ("id-0", "id-1", "id-2")


@pytest.fixture
def send(tmp_path: Path, clock: FrozenClock) -> Callable[..., tuple[Sent, list[str]]]:
    """Send a submission whose files were intended so long ago, to a folder; tell what is there then."""

    def after(age: timedelta, *, records: int = 3, **chunk: object) -> tuple[Sent, list[str]]:
        book = Book(clock, {1: replace(Chunk(clock() - age, None), **chunk)})  # type: ignore[arg-type]
        target = FileTarget(f"file://{tmp_path}/folder", pace_seconds=0, clock=clock)
        sent = target.send(outgoing(tmp_path, records), book)
        return sent, sorted(path.name for path in (tmp_path / "folder").glob("*.csv"))

    return after


@pytest.mark.parametrize(
    ("age", "again"),
    [
        (timedelta(0), True),
        (timedelta(minutes=1), True),
        (timedelta(hours=12), True),
        (timedelta(hours=22, minutes=59, seconds=59), True),
        (timedelta(hours=23, milliseconds=1), False),
        (timedelta(hours=23, minutes=30), False),
        (timedelta(hours=23, minutes=57), False),
        (timedelta(hours=23, minutes=59, seconds=59), False),
        (DAY, False),
        (DAY + timedelta(seconds=1), False),
        (timedelta(days=2), False),
        (timedelta(days=35), False),
        (timedelta(days=400), False),
        (-timedelta(minutes=5), True),
        (-HOUR, True),
        (-HOUR - timedelta(milliseconds=1), False),
        (-timedelta(hours=3), False),
        (-DAY, False),
        (-timedelta(days=30), False),
        (-timedelta(days=3650), False),
    ],
    ids=str,
)
def test_a_file_is_put_again_only_while_stripe_knows_its_identifiers_at_the_connectors_next_look(
    send: Callable[..., tuple[Sent, list[str]]], age: timedelta, again: bool
) -> None:
    """It was read and removed: read once more when Stripe has forgotten it, 5 is billed as 10.

    An intent that lies ahead of every clock must not wait for its time either: a person is asked at once.
    """
    sent, there = send(age)
    assert (sent.accepted, sent.unresolved, there) == ((3, (), [KEY]) if again else (0, ALL_THREE, []))


@given(
    age=st.timedeltas(-timedelta(days=40), timedelta(days=40)) | st.timedeltas(22 * HOUR, 25 * HOUR),
    looks_after=st.timedeltas(timedelta(0), HOUR - timedelta(seconds=1)),
)
def test_whenever_the_connector_looks_no_file_lies_there_that_stripe_has_forgotten(
    age: timedelta, looks_after: timedelta
) -> None:
    """Each record has one end: it is there while Stripe knows it, or before a person."""
    clock = FrozenClock()
    with TemporaryDirectory() as folder:
        target = FileTarget(f"file://{folder}/bucket", pace_seconds=0, clock=clock)
        sent = target.send(outgoing(Path(folder)), Book(clock, {1: Chunk(clock() - age, None)}))
        lies_there = (Path(folder) / "bucket" / KEY).exists()
    assert sent.accepted + len(sent.unresolved) == 3
    assert lies_there == (sent.accepted == 3)
    assert not lies_there or age + looks_after < DAY
    assert lies_there or age > 22 * HOUR or age < -HOUR


@pytest.mark.parametrize("age", [timedelta(0), HOUR, 22 * HOUR, 23 * HOUR, 30 * HOUR, 30 * DAY, -30 * DAY], ids=str)
@pytest.mark.parametrize("withheld", [(), ("id-1",), ALL_THREE], ids=["all", "without one", "none"])
def test_a_verdict_that_is_known_ends_the_matter_however_old_the_file_is(
    send: Callable[..., tuple[Sent, list[str]]], age: timedelta, withheld: tuple[str, ...]
) -> None:
    """Stripe has said that it read the file: put again it bills twice, asked about it nobody can say more."""
    words = tuple(Withheld(name, "would_overwrite", "look") for name in withheld)
    sent, there = send(age, judged=True, withheld=words)
    assert (sent.accepted, sent.unresolved, there) == (3 - len(withheld), (), [])


@pytest.mark.parametrize("age", [24 * HOUR, 30 * DAY, -30 * DAY], ids=str)
def test_a_file_that_lies_there_still_was_not_lost_however_old_it_is(
    tmp_path: Path, send: Callable[..., tuple[Sent, list[str]]], age: timedelta
) -> None:
    """The connector was off for a week: a person would be asked to look for what lies in the folder."""
    send(timedelta(0))
    before = (tmp_path / "folder" / KEY).stat().st_mtime_ns
    sent, there = send(age)
    assert (sent.accepted, sent.unresolved, there) == (3, (), [KEY])
    assert (tmp_path / "folder" / KEY).stat().st_mtime_ns == before


@pytest.mark.parametrize("age", [23 * HOUR + timedelta(seconds=1), 5 * DAY, -2 * HOUR], ids=str)
def test_the_parts_that_were_never_begun_go_although_the_first_is_too_old(
    send: Callable[..., tuple[Sent, list[str]]], monkeypatch: pytest.MonkeyPatch, age: timedelta
) -> None:
    """Two million records would wait for a person because nobody knows of the first."""
    monkeypatch.setattr(files, "MAX_FILE_RECORDS", 2)
    sent, there = send(age, records=5)
    assert (sent.accepted, sent.unresolved) == (3, ("id-0", "id-1"))
    assert there == [file_name(KEY.removeprefix("metermend-").removesuffix(".csv"), part) for part in (2, 3)]


@pytest.mark.parametrize("age", [24 * HOUR, -24 * HOUR], ids=str)
def test_of_a_file_in_doubt_what_was_left_out_of_it_was_never_sent(
    send: Callable[..., tuple[Sent, list[str]]], age: timedelta
) -> None:
    """Called perhaps sent, a person would look at Stripe for what no file ever held."""
    sent, there = send(age, withheld=(Withheld("id-1", "would_overwrite", "look"),))
    assert (sent.accepted, sent.unresolved, there) == (0, ("id-0", "id-2"), [])
    assert [one.identifier for one in sent.withheld] == ["id-1"]
