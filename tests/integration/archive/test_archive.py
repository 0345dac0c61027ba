"""The archive on a directory and on S3: what was kept comes back as it was, or not at all."""

from pathlib import Path

import boto3
import pytest

from tests.integration.storage.moto_s3 import BUCKET
from workers.archive import Archive
from workers.kernel.errors import Corrupt, Permanent
from workers.kernel.ledger.journal import RecordSetRef
from workers.kernel.storage import Store, open_store
from workers.kernel.storage.cache import FileCache

pytestmark = pytest.mark.xdist_group("s3")

CASE = "case_0011223344556677"


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "directory":
        return open_store(str(tmp_path / "archive"))
    return open_store(request.getfixturevalue("s3"))


@pytest.fixture
def archive(store: Store, tmp_path: Path) -> Archive:
    return Archive(store, tmp_path / "scratch")


def record_set(tmp_path: Path, content: bytes = b"PAR1 some records PAR1") -> Path:
    path = tmp_path / "planned.parquet"
    path.write_bytes(content)
    return path


def overwrite(store: Store, name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "forged").write_bytes(content)
    store.put_file(name, tmp_path / "forged")


def test_a_kept_file_comes_back_unchanged(archive: Archive, tmp_path: Path) -> None:
    ref = archive.keep(CASE, "planned", record_set(tmp_path))
    assert archive.fetch(ref).read_bytes() == b"PAR1 some records PAR1"
    assert archive.location(ref).endswith(f"/{ref.name}")


def test_the_name_tells_case_label_and_digest(archive: Archive, tmp_path: Path) -> None:
    ref = archive.keep(CASE, "planned", record_set(tmp_path))
    assert ref.name == f"cases/{CASE}/planned-{ref.sha256[:16]}.parquet"


def test_keeping_the_same_bytes_again_changes_nothing(archive: Archive, tmp_path: Path) -> None:
    """A job that runs twice after a crash must not leave two record sets."""
    first = archive.keep(CASE, "planned", record_set(tmp_path))
    assert archive.keep(CASE, "planned", record_set(tmp_path)) == first
    assert archive.names(CASE) == [first.name]


def test_a_case_lists_its_own_files_only(archive: Archive, tmp_path: Path) -> None:
    mine = archive.keep(CASE, "planned", record_set(tmp_path))
    archive.keep(f"{CASE}8", "planned", record_set(tmp_path))
    assert archive.names(CASE) == [mine.name]


def test_a_changed_byte_is_never_given_out(archive: Archive, store: Store, tmp_path: Path) -> None:
    """Usage that somebody altered at rest would be billed as the customer's own."""
    ref = archive.keep(CASE, "planned", record_set(tmp_path))
    overwrite(store, ref.name, b"PAR1 fake records PAR1", tmp_path)
    with pytest.raises(Corrupt, match=r"planned-.*digest"):
        archive.fetch(ref)


def test_a_name_taken_by_another_file_is_not_believed(archive: Archive, store: Store, tmp_path: Path) -> None:
    ref = archive.keep(CASE, "planned", record_set(tmp_path))
    overwrite(store, ref.name, b"PAR1", tmp_path)
    with pytest.raises(Corrupt, match="4 bytes"):
        archive.keep(CASE, "planned", record_set(tmp_path))


def test_a_lost_file_is_said_to_be_lost(archive: Archive, tmp_path: Path) -> None:
    ref = archive.keep(CASE, "planned", record_set(tmp_path))
    archive.delete(ref.name)
    archive.delete(ref.name)
    assert archive.names(CASE) == []
    with pytest.raises(Permanent, match="does not exist"):
        archive.fetch(ref)


@pytest.mark.parametrize("case_id", ["../case", "", "a/b", ".hidden"])
def test_a_case_id_cannot_lead_elsewhere(archive: Archive, tmp_path: Path, case_id: str) -> None:
    with pytest.raises(Permanent, match="no case id or label"):
        archive.keep(case_id, "planned", record_set(tmp_path))


def test_a_compressed_file_keeps_both_extensions(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "usage.2026.csv.gz"
    path.write_bytes(b"x")
    assert archive.keep(CASE, "original", path).name.endswith(".csv.gz")
    assert ".2026" not in archive.keep(CASE, "original", path).name


def test_a_directory_is_read_in_place(tmp_path: Path) -> None:
    archive = Archive(open_store(str(tmp_path / "archive")), tmp_path / "scratch")
    ref = archive.keep(CASE, "planned", record_set(tmp_path))
    assert archive.fetch(ref) == tmp_path / "archive" / ref.name
    assert not (tmp_path / "scratch").exists()


def test_a_bucket_is_read_once_and_a_damaged_copy_is_made_again(s3: str, s3_endpoint: str, tmp_path: Path) -> None:
    archive = Archive(open_store(s3), tmp_path / "scratch")
    ref = archive.keep(CASE, "planned", record_set(tmp_path))
    copy = archive.fetch(ref)
    copy.write_bytes(b"damaged")
    assert archive.fetch(ref).read_bytes() == b"PAR1 some records PAR1"
    client = boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1")
    client.delete_object(Bucket=BUCKET, Key=f"{tmp_path.name}/{ref.name}")
    client.close()
    assert archive.fetch(ref) == copy
    archive.delete(ref.name)
    assert not copy.exists(), "what was erased still lies on this machine"


def test_the_cache_gives_up_what_was_used_longest_ago(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache", max_bytes=25)
    for name in ("a", "b/c", "d"):
        with cache.make(name) as path:
            path.write_bytes(b"0123456789")
    assert cache.find("a") is not None
    cache.shrink(keep={"d"})
    assert [cache.find(name) is not None for name in ("a", "b/c", "d")] == [True, False, True]


def test_the_cache_spares_what_a_job_may_still_read(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache", max_bytes=1, spare_seconds=3600)
    with cache.make("a") as path:
        path.write_bytes(b"0123456789")
    cache.shrink()
    assert cache.find("a") is not None


def test_a_copy_that_fails_half_way_is_not_found(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache", max_bytes=100)
    with pytest.raises(RuntimeError), cache.make("a") as path:  # noqa: PT012 the write belongs to the failure
        path.write_bytes(b"half")
        raise RuntimeError
    assert cache.find("a") is None
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_reference_of_the_ledger_is_enough(archive: Archive, store: Store, tmp_path: Path) -> None:
    ref = archive.keep(CASE, "planned", record_set(tmp_path))
    later = Archive(store, tmp_path / "other-scratch")
    assert later.fetch(RecordSetRef(ref.name, ref.sha256)).read_bytes() == b"PAR1 some records PAR1"
