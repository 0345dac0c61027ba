"""If these fail, a full disk ends every web process in a loop, or nobody is told before events are refused."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from sqlalchemy import event

from tests.integration.webhooks.conftest import MakeClient
from tests.integration.webhooks.test_gunicorn import running
from webhooks import checks, health, metric_files
from workers.kernel.ledger import connect


@pytest.fixture(autouse=True)
def asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "FRESH_SECONDS", -1.0)
    monkeypatch.setattr(checks, "WAIT_SECONDS", 20.0)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB without a free byte."""
    place = tmp_path / "full"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root only")
    (place / "all").write_bytes(b"x" * 65_536)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.xdist_group("gunicorn")
def test_a_web_without_room_for_its_counters_takes_events_and_says_so(
    full: Path, tmp_path: Path, migrated_sqlite: Path, redis_url: str
) -> None:
    with running(tmp_path, migrated_sqlite, redis_url, workers=1, PROMETHEUS_MULTIPROC_DIR=str(full)) as web:
        posted = [requests.post(f"{web.url}/webhooks", data=b"{}", timeout=30).status_code for _ in range(20)]
        assert posted == [400] * 20
        assert "metermend_webhooks_total" in requests.get(f"{web.url}/metrics", timeout=30).text
        assert "no room" in requests.get(f"{web.url}/readyz", timeout=30).json()["degraded"]["METRICS"]


def test_a_folder_without_room_is_left_and_not_half_filled(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(metric_files.FOLDER, str(full))
    monkeypatch.setenv(metric_files.NO_ROOM, "")
    metric_files.reserve(4711)
    assert metric_files.FOLDER not in os.environ
    assert os.environ[metric_files.NO_ROOM] == "1"
    assert [path.name for path in full.iterdir()] == ["all"]


def test_a_reserved_file_holds_no_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(metric_files.FOLDER, str(tmp_path))
    metric_files.reserve(4711)
    for kind in metric_files.KINDS:
        kept = (tmp_path / f"{kind}_4711.db").stat()
        assert (kept.st_size, kept.st_blocks * 512) == (metric_files.BYTES, metric_files.BYTES)


def test_a_ledger_that_can_be_read_and_not_written_is_named(
    make_client: MakeClient, migrated_sqlite: Path, tmp_path: Path
) -> None:
    """Its disk is full, say: posts are answered 503 while all looks well."""
    ledger = connect(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'full.db')}")
    client = make_client(ledger=ledger)
    assert client.get("/readyz").status_code == 200
    event.listen(ledger.database.engine, "begin", lambda one: one.exec_driver_sql("PRAGMA query_only = ON"))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json and answer.json["failing"]) == (503, ["ledger"])


def test_a_disk_that_runs_full_is_named_before_it_is_full(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(archive_url=str(tmp_path / "archive" / "not there yet"))
    assert client.get("/readyz").status_code == 200
    monkeypatch.setattr(health, "LEAST_FREE", 1 << 60)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json and answer.json["failing"]) == (503, ["disk"])
    shown = client.get("/metrics").text
    assert f'metermend_disk_free_bytes{{place="{tmp_path}/archive/not there yet"}}' in shown


def test_a_disk_that_hangs_or_cannot_be_looked_at_holds_up_nobody(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive on a network that is away would take the receiver and /healthz down with it."""

    answers = threading.Event()

    def hangs(_places: object) -> dict[str, int]:
        assert answers.wait(60)
        return {}

    monkeypatch.setattr(checks, "WAIT_SECONDS", 0.25)
    monkeypatch.setattr(health, "free_bytes", hangs)
    client = make_client()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json is not None
    assert "disk" in answer.json["failing"]
    assert answer.json["age_seconds"]["disk"] is None
    assert client.get("/metrics").status_code == 200
    answers.set()


def test_a_folder_that_cannot_be_looked_at_is_named(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(_places: object) -> None:
        raise OSError("Stale file handle")

    monkeypatch.setattr(health, "free_bytes", stale)
    client = make_client()
    answer = client.get("/readyz")
    assert answer.json is not None
    assert answer.json["failing"] == ["disk"]
    assert client.get("/metrics").status_code == 200
