"""What is installed is what runs: if these fail, a deployed metermend lacks its pages or its migrations."""

import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.architecture.licences import pinned
from tests.servers import free_ports

ROOT = Path(__file__).parents[2]
EVERY_MODULE = """
import importlib, pkgutil, webhooks, workers

for package in (webhooks, workers):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name != "workers.cli.__main__":  # it starts something
            importlib.import_module(module.name)
print(webhooks.__file__, workers.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that is built from a copy, so that nothing is left behind in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    for folder in ("webhooks", "workers", "fixtures", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, copy / file)
    command = [
        sys.executable,
        "-m",
        "uv",
        "build",
        "--quiet",
        "--wheel",
        "--no-build-isolation",
        "--out-dir",
        str(copy / "dist"),
    ]
    subprocess.run(command, cwd=copy, check=True, timeout=170)
    [wheel] = (copy / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def packed(wheel: Path) -> set[str]:
    """The names in it."""
    return set(zipfile.ZipFile(wheel).namelist())


def test_it_holds_the_two_packages_and_nothing_else(packed: set[str]) -> None:
    tops = {name.split("/")[0] for name in packed if ".dist-info/" not in name}
    assert tops == {"webhooks", "workers"}


@pytest.mark.parametrize("package", ["webhooks", "workers"])
def test_it_holds_every_file_of_a_package(packed: set[str], package: str) -> None:
    files = {
        str(path.relative_to(ROOT))
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files - packed == set()


@pytest.fixture
def image(wheel: Path, tmp_path: Path) -> Path:
    """The programs of an environment as the Dockerfile makes it: the wheel, what is pinned for it, and no more."""
    venv.create(tmp_path / "image", with_pip=False)
    base = str(tmp_path / "image")
    packages = Path(sysconfig.get_path("purelib", vars={"base": base, "platbase": base}))
    for top in {top for name in pinned() for top in tops(name)}:
        (packages / top).symlink_to(Path(sysconfig.get_path("purelib")) / top)
    programs = tmp_path / "image" / "bin"
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps"]
    subprocess.run([*install, "--python", programs / "python", wheel], check=True, timeout=60)
    return programs


def tops(name: str) -> set[str]:
    """What a package lays beside the others; nothing where it is not installed, being another platform's."""
    with suppress(PackageNotFoundError):
        return {file.parts[0] for file in files(name) or ()} - {"..", "__pycache__"}
    return set()


def test_what_the_image_holds_migrates_and_serves_far_from_any_checkout(image: Path, tmp_path: Path) -> None:
    """The steps of docs/deploy/Dockerfile and what compose.yaml starts, but for the container."""
    [port] = free_ports(1)
    folder = tmp_path / "state"
    folder.mkdir()
    settings = {"PATH": str(image), "STRIPE_WEBHOOK_SECRETS": "whsec_image", "PORT": str(port),
                "TMPDIR": str(tmp_path), "WEB_CONCURRENCY": "1"}  # fmt: skip
    ran: dict[str, Any] = {"cwd": folder, "env": settings}
    whence = subprocess.check_output([str(image / "python"), "-c", EVERY_MODULE], text=True, timeout=60, **ran)
    assert whence.count(str(image.parent)) == 2
    subprocess.run([str(image / "metermend"), "db", "upgrade"], check=True, timeout=60, **ran)
    serve = [str(image / "python"), "-m", "gunicorn", "-c", "python:webhooks.gunicorn_conf"]
    with subprocess.Popen(serve, stderr=subprocess.DEVNULL, text=True, **ran) as web:
        try:
            assert _answer(web, f"http://127.0.0.1:{port}/healthz") == 200
            assert _answer(web, f"http://127.0.0.1:{port}/console/login") == 200
        finally:
            web.send_signal(signal.SIGTERM)
        assert web.wait(30) == 0


def _answer(web: "subprocess.Popen[str]", url: str) -> int:
    deadline = time.monotonic() + 60
    while True:
        try:
            return requests.get(url, timeout=10).status_code
        except requests.ConnectionError:
            assert web.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
