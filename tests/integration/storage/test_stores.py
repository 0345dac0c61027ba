"""One contract for every place that files are kept in: a directory, memory, and S3 and Azure over HTTP."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from obstore import exceptions

from tests.integration.storage.azurite import CONTAINER, azurite
from workers.kernel.errors import MetermendError, Permanent, SettingsUnusable, Transient
from workers.kernel.storage import Store, open_store
from workers.kernel.storage.directory import disk_error
from workers.kernel.storage.remote import translate

pytestmark = pytest.mark.xdist_group("s3")

OpenStore = Callable[[str], Store]


@pytest.fixture(scope="module")
def azurite_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with azurite(tmp_path_factory.mktemp("azurite")) as url:
        yield url


@pytest.fixture
def azure(azurite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty place in the container; what reaches it stands in the environment."""
    monkeypatch.setenv("AZURE_STORAGE_USE_EMULATOR", "true")
    monkeypatch.setenv("AZURITE_BLOB_STORAGE_URL", azurite_url)
    return f"az://{CONTAINER}/{tmp_path.name}"


@pytest.fixture(params=["directory", "memory", "s3", "azure"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "directory":
        return open_store(str(tmp_path / "store"))
    if request.param == "memory":
        return open_store("memory://")
    return open_store(request.getfixturevalue(request.param))


def file_with(tmp_path: Path, content: bytes, name: str = "source.bin") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_what_is_stored_comes_back_byte_for_byte(store: Store, tmp_path: Path) -> None:
    content = os.urandom(6 * 1024 * 1024 + 1)
    store.put_file("a/b/c.bin", file_with(tmp_path, content))
    assert store.get_to_file("a/b/c.bin", tmp_path / "back" / "c.bin", len(content)) == len(content)
    assert (tmp_path / "back" / "c.bin").read_bytes() == content
    assert b"".join(store.chunks("a/b/c.bin")) == content
    with pytest.raises(Permanent):
        list(store.chunks("a/b/none.bin"))


def test_a_taken_key_is_left_as_it_is(store: Store, tmp_path: Path) -> None:
    """Otherwise a second worker would overwrite a submission that Stripe is about to read."""
    assert store.put_if_absent("k.csv", file_with(tmp_path, b"first"))
    assert not store.put_if_absent("k.csv", file_with(tmp_path, b"second"))
    store.get_to_file("k.csv", tmp_path / "back", 100)
    assert (tmp_path / "back").read_bytes() == b"first"


def test_a_put_replaces_and_changes_the_etag(store: Store, tmp_path: Path) -> None:
    store.put_file("k", file_with(tmp_path, b"first"))
    before = store.head("k")
    store.put_file("k", file_with(tmp_path, b"2nd.."))
    after = store.head("k")
    assert before is not None
    assert after is not None
    assert before.etag != after.etag


def test_listing_names_every_object_with_size_and_time(store: Store, tmp_path: Path) -> None:
    for key in ("b.csv", "a/x.csv", "c.csv"):
        store.put_file(key, file_with(tmp_path, key.encode()))
    listed = {found.key: found for found in store.list()}
    assert sorted(listed) == ["a/x.csv", "b.csv", "c.csv"]
    assert listed["a/x.csv"].size == 7
    assert listed["a/x.csv"].name == "x.csv"
    assert listed["b.csv"].last_modified.tzinfo is not None
    assert listed["b.csv"] == store.head("b.csv")
    assert [found.key for found in store.list("a/")] == ["a/x.csv"]
    assert list(store.list("no-such-folder/")) == []


def test_listing_can_be_held_to_names_that_start_alike(store: Store, tmp_path: Path) -> None:
    for key in ("metermend-1.csv", "metermend-2.csv", "metermeter.csv", "a.csv", "z.csv", "in/metermend-3.csv"):
        store.put_file(key, file_with(tmp_path, b"x"))
    assert sorted(found.key for found in store.list("metermend-")) == ["metermend-1.csv", "metermend-2.csv"]
    assert [found.key for found in store.list("in/metermend-")] == ["in/metermend-3.csv"]


def test_nothing_there_is_an_empty_list_and_no_head(store: Store) -> None:
    assert list(store.list()) == []
    assert store.head("nothing") is None


def test_an_object_that_is_not_there_cannot_be_fetched(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="does not exist"):
        store.get_to_file("nothing", tmp_path / "back", 100)
    assert not (tmp_path / "back").exists()


def test_an_object_above_the_limit_is_not_fetched(store: Store, tmp_path: Path) -> None:
    store.put_file("big", file_with(tmp_path, b"x" * 101))
    with pytest.raises(Permanent, match="at most 100"):
        store.get_to_file("big", tmp_path / "back", 100)
    assert not (tmp_path / "back").exists()


def test_deleting_twice_is_no_error(store: Store, tmp_path: Path) -> None:
    store.put_file("k", file_with(tmp_path, b"x"))
    store.delete("k")
    store.delete("k")
    assert store.head("k") is None


@pytest.mark.parametrize("key", ["../outside", "/etc/passwd", "", "a/../../b"])
def test_a_directory_never_writes_outside_itself(tmp_path: Path, key: str) -> None:
    with pytest.raises(Permanent):
        open_store(str(tmp_path / "store")).put_file(key, file_with(tmp_path, b"x"))


def test_a_directory_shows_no_unfinished_file(tmp_path: Path) -> None:
    """A poller that takes half a file bills half of it."""
    store = open_store(f"file://{tmp_path}/store")
    store.put_file("k.csv", file_with(tmp_path, b"x"))
    (tmp_path / "store" / ".k.csv.1234.tmp").write_bytes(b"half")
    assert [found.key for found in store.list()] == ["k.csv"]
    assert store.local_path("k.csv") == tmp_path / "store" / "k.csv"


def test_of_many_writers_exactly_one_gets_the_key(tmp_path: Path) -> None:
    """Two workers that both believe to have written a submission count it twice."""
    store = open_store(str(tmp_path / "store"))
    sources = [file_with(tmp_path, bytes([number]) * 100_000, f"source-{number}") for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda source: store.put_if_absent("k.csv", source), sources))
    assert sum(stored) == 1
    assert (tmp_path / "store" / "k.csv").read_bytes() == sources[stored.index(True)].read_bytes()
    assert len(list((tmp_path / "store").iterdir())) == 1


def test_a_process_that_keeps_files_in_a_directory_never_loads_obstore(tmp_path: Path) -> None:
    """The web stays light, and a process that forks has no threads of obstore's."""
    script = (
        "import sys; from workers.kernel.storage import open_store; list(open_store(sys.argv[1]).list())\n"
        "sys.exit('obstore' in sys.modules or 'polars' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], timeout=60, check=False).returncode == 0


def test_a_full_disk_is_one_clear_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """/dev/full answers every write as a full disk does."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    store = open_store(str(tmp_path / "store"))
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patched:
        patched.setattr("shutil.copyfile", lambda source, target: write_until_full(target))
        with pytest.raises(Transient, match="No space left on device - free some space"):
            store.put_file("k.csv", file_with(tmp_path, b"x"))
    assert list((tmp_path / "store").iterdir()) == []


def write_until_full(target: Path) -> None:
    target.write_bytes(b"half")
    with Path("/dev/full").open("wb", buffering=0) as device:
        device.write(b"x")


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, Transient), (errno.EDQUOT, Transient), (errno.EIO, Transient), (errno.EACCES, Permanent),
     (errno.EROFS, Permanent), (errno.ENAMETOOLONG, Permanent)],
)  # fmt: skip
def test_disk_errors_say_whether_to_try_again(number: int, kind: type[MetermendError]) -> None:
    assert type(disk_error(OSError(number, os.strerror(number)), "place")) is kind


@pytest.mark.parametrize("url", ["ftp://x/y", "", "file://", "s3://", "az://"])
def test_an_address_that_is_none_is_a_settings_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(SettingsUnusable):
        open_store(url)


@pytest.mark.parametrize("cloud", ["s3", "azure"])
def test_a_missing_bucket_is_a_settings_error(cloud: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Silence here would read as 'no usage found'."""
    scheme = request.getfixturevalue(cloud).partition("://")[0]
    store = open_store(f"{scheme}://no-such-bucket/folder")
    source = file_with(tmp_path, b"x")
    attempts: list[Callable[[], Any]] = [
        lambda: list(store.list()),
        lambda: store.put_file("k", source),
        lambda: store.put_if_absent("k", source),
        lambda: store.get_to_file("k", tmp_path / "back", 100),
    ]
    for attempt in attempts:
        with pytest.raises(SettingsUnusable, match="no such bucket"):
            attempt()


@pytest.mark.parametrize(
    ("where", "named"),
    [("s3://b/k", "AWS_ACCESS_KEY_ID"), ("gs://b/k", "GOOGLE_APPLICATION_CREDENTIALS"),
     ("az://b/k", "AZURE_STORAGE_ACCOUNT_KEY"), ("abfss://b/k", "AZURE_STORAGE_ACCOUNT_KEY")],
)  # fmt: skip
def test_who_has_set_no_credentials_learns_what_his_own_cloud_calls_them(where: str, named: str) -> None:
    error = translate(exceptions.GenericError("GET http://169.254.169.254/token: connection refused"), where)
    assert isinstance(error, SettingsUnusable)
    assert named in str(error)
