"""What is installed is what runs: if these fail, a deployed metermend lacks its pages or its migrations."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


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
