"""The file target on a directory and on S3: every submission arrives once, whole, and at the connector's pace."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conftest import FrozenClock
from workers.kernel.clock import utc_now
from workers.kernel.errors import Corrupt, Paced, Permanent
from workers.kernel.files import file_name, is_ours, submission_of
from workers.kernel.storage import Store, open_store
from workers.targets import files
from workers.targets.files import FileTarget
from workers.targets.target import Chunk, Outgoing, Rows, Sent, Target, Withheld

pytestmark = pytest.mark.xdist_group("s3")

SUBMISSION = "case_0011223344556677-1"
KEY = f"metermend-{SUBMISSION}.csv"


ALL = Rows(0, 3)


@dataclass
class Book:
    """Progress as the ledger keeps it. `stopped` are the identifiers of what must not go any more."""

    clock: FrozenClock
    kept: dict[int, Chunk] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)

    def chunks(self) -> Mapping[int, Chunk]:
        return dict(self.kept)

    def may_not_go(self, rows: Rows) -> tuple[Withheld, ...]:
        names = [f"id-{number}" for number in range(rows.first, rows.first + rows.records)]
        return tuple(Withheld(name, "would_overwrite", "look") for name in names if name in self.stopped)

    def intend(self, number: int, rows: Rows = ALL, withheld: tuple[Withheld, ...] = ()) -> None:
        assert number not in self.kept
        self.kept[number] = Chunk(self.clock(), None, withheld)

    def finish(self, number: int, result: Any) -> None:
        self.kept[number] = replace(self.kept[number], result=result)


class DiesBeforeWritingTheAnswer(Book):
    def finish(self, number: int, result: Any) -> None:
        raise KeyboardInterrupt


@pytest.fixture(params=["directory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "directory":
        return f"file://{tmp_path}/folder"
    return str(request.getfixturevalue("s3"))


@pytest.fixture
def store(url: str) -> Store:
    return open_store(url)


@pytest.fixture
def target(url: str) -> FileTarget:
    return FileTarget(url, pace_seconds=0)


@pytest.fixture
def book(clock: FrozenClock) -> Book:
    return Book(clock)


def outgoing(tmp_path: Path, records: int = 3, submission_id: str = SUBMISSION, **changes: Any) -> Outgoing:
    frame = pl.DataFrame(
        {
            "identifier": [f"id-{number}" for number in range(records)],
            "timestamp": ["1795250000"] * records,
            "event_name": ["tokens"] * records,
            "payload_stripe_customer_id": ["cus_1"] * records,
            "payload_value": [f"0{number}.10" for number in range(records)],
            "payload_region": ["eu, west"] + [None] * (records - 1),
            "@record": [str(number) for number in range(records)],
        },
        schema_overrides={"payload_region": pl.String},
    )
    path = tmp_path / f"{submission_id}.parquet"
    frame.write_parquet(path)
    return Outgoing(submission_id, changes.get("account"), path, changes.get("claimed", records))


def keys(store: Store) -> list[str]:
    return sorted(found.key for found in store.list())


def content(store: Store, key: str, tmp_path: Path) -> bytes:
    store.get_to_file(key, tmp_path / "content", 10_000_000)
    return (tmp_path / "content").read_bytes()


def test_the_file_is_stripes_template_with_every_character_of_the_quantities(
    target: FileTarget, store: Store, book: Book, tmp_path: Path
) -> None:
    sent = target.send(outgoing(tmp_path), book)
    assert keys(store) == [KEY]
    assert content(store, KEY, tmp_path).decode() == (
        "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value,payload_region\n"
        'id-0,1795250000,tokens,cus_1,00.10,"eu, west"\n'
        "id-1,1795250000,tokens,cus_1,01.10,\n"
        "id-2,1795250000,tokens,cus_1,02.10,\n"
    )
    assert (sent.accepted, sent.location, sent.unresolved) == (3, store.location(KEY), ())


def test_a_try_after_a_crash_writes_nothing_twice(
    target: FileTarget, store: Store, clock: FrozenClock, tmp_path: Path
) -> None:
    """A file that is written anew is new to the connector, and Stripe bills it again."""
    book = DiesBeforeWritingTheAnswer(clock)
    with pytest.raises(KeyboardInterrupt):
        target.send(outgoing(tmp_path), book)
    before = store.head(KEY)
    again = Book(clock, book.kept)
    assert target.send(outgoing(tmp_path), again).accepted == 3
    assert store.head(KEY) == before
    size = before.size if before else None
    assert again.kept[1].result == {
        "key": KEY,
        "location": store.location(KEY),
        "records": 3,
        "bytes": size,
        "put_again": False,
    }


def test_what_was_written_is_not_written_again_after_stripe_or_somebody_removed_it(
    target: FileTarget, store: Store, book: Book, tmp_path: Path
) -> None:
    target.send(outgoing(tmp_path), book)
    store.delete(KEY)
    assert target.send(outgoing(tmp_path), book).accepted == 3
    assert keys(store) == []


def test_what_was_begun_a_day_ago_and_is_not_there_is_for_a_person(
    store: Store, url: str, clock: FrozenClock, book: Book, tmp_path: Path
) -> None:
    """Stripe may have read the file and forgotten its identifiers: sending it again could bill it twice."""
    book.intend(1)
    clock.turn(hours=23, seconds=1)
    sent = FileTarget(url, pace_seconds=0, clock=clock).send(outgoing(tmp_path), book)
    assert (sent.accepted, sent.unresolved) == (0, ("id-0", "id-1", "id-2"))
    assert keys(store) == []


def test_what_was_begun_a_while_ago_is_finished(
    store: Store, url: str, clock: FrozenClock, book: Book, tmp_path: Path
) -> None:
    book.intend(1)
    clock.turn(hours=22, minutes=59)
    assert FileTarget(url, pace_seconds=0, clock=clock).send(outgoing(tmp_path), book).accepted == 3
    assert keys(store) == [KEY]


@pytest.mark.parametrize("change", ["longer", "same size"])
def test_a_key_that_somebody_else_wrote_is_never_taken_for_ours(
    target: FileTarget, store: Store, book: Book, tmp_path: Path, change: str
) -> None:
    target.send(outgoing(tmp_path), book)
    stranger = content(store, KEY, tmp_path)
    stranger = stranger + b"x" if change == "longer" else stranger.replace(b"cus_1", b"cus_2")
    (tmp_path / "stranger").write_bytes(stranger)
    store.put_file(KEY, tmp_path / "stranger")
    with pytest.raises(Permanent, match="somebody else wrote"):
        target.send(outgoing(tmp_path), Book(book.clock))
    assert content(store, KEY, tmp_path) == stranger


def test_a_large_submission_is_split_and_no_record_is_lost_at_the_seams(
    target: FileTarget, store: Store, book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_FILE_RECORDS", 4)
    monkeypatch.setattr(files, "_BATCH", 3)
    assert target.send(outgoing(tmp_path, records=10), book).accepted == 10
    names = [file_name(SUBMISSION, part) for part in (1, 2, 3)]
    assert keys(store) == sorted(names)
    rows = [content(store, name, tmp_path).decode().splitlines()[1:] for name in names]
    assert [len(part) for part in rows] == [4, 4, 2]
    assert [row.split(",")[0] for part in rows for row in part] == [f"id-{number}" for number in range(10)]


def test_only_the_lost_part_of_a_split_submission_is_unresolved(
    store: Store, url: str, clock: FrozenClock, book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_FILE_RECORDS", 4)
    book.intend(1)
    book.finish(1, {"key": KEY})
    book.intend(2)
    clock.turn(days=2)
    sent = FileTarget(url, pace_seconds=0, clock=clock).send(outgoing(tmp_path, records=10), book)
    assert sent.unresolved == ("id-4", "id-5", "id-6", "id-7")
    assert sent.accepted == 6
    assert keys(store) == [file_name(SUBMISSION, 3)]


def test_the_pace_of_the_connector_is_kept(url: str, clock: FrozenClock, book: Book, tmp_path: Path) -> None:
    """Stripe's connector falls behind when files come faster, and late usage misses its invoice."""
    clock.now = utc_now()
    target = FileTarget(url, clock=clock)
    target.send(outgoing(tmp_path), book)
    with pytest.raises(Paced) as caught:
        target.keep_pace()
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 10
    clock.turn(seconds=11)
    target.keep_pace()


def test_other_peoples_files_do_not_slow_ours(store: Store, url: str, clock: FrozenClock, tmp_path: Path) -> None:
    clock.now = utc_now()
    (tmp_path / "usage.csv").write_bytes(b"x")
    store.put_file("usage.csv", tmp_path / "usage.csv")
    FileTarget(url, clock=clock).keep_pace()


def test_no_empty_file_is_ever_written(target: FileTarget, store: Store, book: Book, tmp_path: Path) -> None:
    with pytest.raises(Corrupt):
        target.send(outgoing(tmp_path, records=3, claimed=4), book)
    empty = outgoing(tmp_path, records=3)
    pl.read_parquet(empty.record_set).clear().write_parquet(empty.record_set)
    with pytest.raises(Corrupt):
        target.send(Outgoing(SUBMISSION, None, empty.record_set, 0), book)
    assert keys(store) == []


def test_usage_of_a_connected_account_never_goes_into_our_own_folder(
    target: FileTarget, store: Store, book: Book, tmp_path: Path
) -> None:
    """The connector bills whatever lies in its folder to the account that it belongs to."""
    with pytest.raises(Permanent, match="acct_1"):
        target.send(outgoing(tmp_path, account="acct_1"), book)
    assert keys(store) == []


def test_the_file_target_is_a_target(target: FileTarget) -> None:
    as_target: Target = target
    assert as_target.name == "files"


@pytest.mark.parametrize(
    ("name", "submission_id"),
    [
        (KEY, SUBMISSION),
        (f"in/folder/{KEY}", SUBMISSION),
        (file_name(SUBMISSION, 12), SUBMISSION),
        ("metermend-a-p2-1-p3.csv", "a-p2-1"),
        ("usage.csv", None),
        ("my-metermend-1.csv", None),
        ("metermend-.csv", None),
        ("metermend-1.txt", None),
        ("", None),
    ],
)
def test_our_own_files_are_known_by_their_names(name: str, submission_id: str | None) -> None:
    assert submission_of(name) == submission_id
    assert submission_id is None or is_ours(name)


def withheld_of(sent: Sent) -> list[str]:
    return [one.identifier for one in sent.withheld]


@pytest.mark.parametrize("stopped", [{"id-0"}, {"id-1"}, {"id-0", "id-2"}, {"id-0", "id-1", "id-2"}])
def test_what_must_not_go_any_more_is_left_out_of_its_file(
    target: FileTarget, store: Store, clock: FrozenClock, tmp_path: Path, stopped: set[str]
) -> None:
    """In the file, an older value would overwrite what the sender has sent since."""
    book = Book(clock, stopped=stopped)
    sent = target.send(outgoing(tmp_path), book)
    left = [f"id-{number}" for number in range(3) if f"id-{number}" not in stopped]
    assert (sent.accepted, set(withheld_of(sent)), sent.unresolved) == (len(left), stopped, ())
    assert keys(store) == ([KEY] if left else [])
    if left:
        rows = content(store, KEY, tmp_path).decode().splitlines()[1:]
        assert [row.split(",")[0] for row in rows] == left


def test_a_file_is_the_same_at_every_try_whatever_must_not_go_by_then(
    target: FileTarget, store: Store, clock: FrozenClock, tmp_path: Path
) -> None:
    """Another content under the name that is there would be taken for somebody else's, and the case be stuck."""
    dying = DiesBeforeWritingTheAnswer(clock, stopped={"id-1"})
    with pytest.raises(KeyboardInterrupt):
        target.send(outgoing(tmp_path), dying)
    again = Book(clock, dying.kept, stopped={"id-0", "id-2"})
    sent = target.send(outgoing(tmp_path), again)
    assert (sent.accepted, withheld_of(sent)) == (2, ["id-1"])
    assert len(content(store, KEY, tmp_path).decode().splitlines()) == 3


def test_a_file_that_is_not_there_any_more_is_not_put_again_when_some_of_it_must_not_go(
    url: str, store: Store, clock: FrozenClock, book: Book, tmp_path: Path
) -> None:
    """It may have been read: the rest alone would be another file, and all of it would overwrite a newer value."""
    book.intend(1)
    book.stopped = {"id-1"}
    sent = FileTarget(url, pace_seconds=0, clock=clock).send(outgoing(tmp_path), book)
    assert sent.unresolved == ("id-0", "id-1", "id-2")
    assert keys(store) == []


def test_a_file_that_stripe_has_judged_is_not_put_again(
    url: str, store: Store, clock: FrozenClock, tmp_path: Path
) -> None:
    """It has been read: put again, it would be billed again once Stripe has forgotten its identifiers."""
    book = Book(clock, {1: Chunk(clock(), None, judged=True)})
    assert FileTarget(url, pace_seconds=0, clock=clock).send(outgoing(tmp_path), book).accepted == 3
    assert keys(store) == []


def test_a_file_that_is_put_again_says_so(
    url: str, store: Store, clock: FrozenClock, book: Book, tmp_path: Path
) -> None:
    """What Stripe skips as a duplicate is then ours, and no stranger's."""
    book.intend(1)
    FileTarget(url, pace_seconds=0, clock=clock).send(outgoing(tmp_path), book)
    assert keys(store) == [KEY]
    result: Any = book.kept[1].result
    assert result["put_again"] is True


@pytest.mark.parametrize(
    ("ahead", "waits"),
    [
        (-3600, False), (-31, False), (-29, True), (-1, True), (0, True), (1, True), (30, True), (59, True),
        (61, False), (120, False), (3600, False), (30 * 86_400, False),
    ],
)  # fmt: skip
def test_only_times_that_can_be_true_keep_the_pace(
    url: str, store: Store, clock: FrozenClock, tmp_path: Path, ahead: int, waits: bool
) -> None:
    """A file that is dated ahead would stop all sending until that day."""
    FileTarget(url, pace_seconds=0, clock=clock).send(outgoing(tmp_path, submission_id="case_other-1"), Book(clock))
    [written] = store.list()
    clock.now = written.last_modified - timedelta(seconds=ahead)
    paced = FileTarget(url, pace_seconds=30, clock=clock)
    if waits:
        with pytest.raises(Paced):
            paced.keep_pace()
    else:
        paced.keep_pace()
