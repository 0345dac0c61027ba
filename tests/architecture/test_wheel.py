"""What is installed is what runs: if these fail, a deployed metermend lacks its pages or its migrations."""

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.architecture.licences import pinned

ROOT = Path(__file__).parents[2]

DEV_LOCK = ROOT / ".ci" / "requirements-dev.lock"
IMPORT_ALL_WITHOUT = """
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

absent = set(sys.argv[1:])
sys.meta_path.insert(0, Absent())
for root in ("webhooks", "workers"):
    for module in pkgutil.walk_packages([root], f"{root}."):
        if not module.name.endswith((".__main__", ".wsgi")):  # these two start something
            importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel that is built from a copy, so that nothing is left behind in the checkout."""
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


def test_nothing_of_it_needs_what_only_the_tests_install() -> None:
    """gunicorn's gevent worker imports `packaging`, which pytest had brought along: no web started without it."""
    only_for_tests = pinned(DEV_LOCK).keys() - pinned().keys()
    absent = {
        module
        for module, owners in packages_distributions().items()
        if {owner.lower().replace("_", "-") for owner in owners} <= only_for_tests
    }
    assert {"packaging", "pytest", "boto3"} & absent == {"pytest", "boto3"}
    command = [sys.executable, "-c", IMPORT_ALL_WITHOUT, *absent]
    told = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=170)
    assert told.returncode == 0, told.stderr
