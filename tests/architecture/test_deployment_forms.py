"""If these fail, a file of docs/deploy is refused by what it is written for, or a line of it is passed over.

No container runs here: the files are held against their schemas.
"""

import json
import os
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest

from tests.architecture.deployment import DEPLOY, UNITS, compose, manifests
from tests.by_npm import installed


def test_the_dockerfile_is_well_formed() -> None:
    lint = [str(installed(".bin/dockerfile-utils")), "lint", str(DEPLOY / "Dockerfile")]
    told = subprocess.run(lint, capture_output=True, text=True, timeout=60, check=False)
    assert (told.returncode, told.stdout) == (0, "")


def test_compose_yaml_is_what_the_compose_specification_says() -> None:
    schema = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(compose(), json.loads(schema.read_text()))


def test_the_manifests_are_what_kubernetes_says() -> None:
    assert len(manifests()) == 8
    for one in manifests():
        kubernetes_validate.validate(one, "1.37", strict=True)


def test_the_units_are_what_systemd_says(tmp_path: Path) -> None:
    """A key that systemd does not know it ignores, with the protection that it was to give."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not here")
    folder = shutil.copytree(DEPLOY / "systemd", tmp_path / "units")
    for file in folder.glob("*.service"):
        file.write_text(file.read_text().replace("/opt/metermend/bin/", "/bin/true #"))
    names = [one.name.replace("@.", "@1.") for one in UNITS if one.suffix in {".service", ".target"}]
    verify = ["systemd-analyze", "verify", *(str(folder / name) for name in names)]
    own = os.environ | {"SYSTEMD_UNIT_PATH": f"{folder}:"}
    told = subprocess.run(verify, env=own, capture_output=True, text=True, timeout=60, check=False)
    assert (told.returncode, told.stderr) == (0, "")
