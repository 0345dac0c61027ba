"""If these fail, what is deployed by docs/deploy does not start, or is stopped in the middle of a submission."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.architecture.deployment import DEPLOY, DOCKERFILE, ROOT, UNITS, compose, manifests, pods, services, unit
from webhooks.health import blueprint
from workers.cli.main import COMMANDS
from workers.kernel.settings import Settings
from workers.schedule import LAST_SECONDS
from workers.stripe_api.errors import PERMISSIONS

OTHERS = {"PATH"}
"""Variables that somebody else reads."""
JOB_SECONDS = Settings.model_fields["job_timeout"].default
PORT = Settings.model_fields["port"].default
GUNICORN_SECONDS = int(
    re.findall(r"^graceful_timeout = (\d+)$", (ROOT / "webhooks/gunicorn_conf.py").read_text(), re.MULTILINE)[0]
)


def commands() -> Iterator[list[str]]:
    """All that is started anywhere."""
    yield json.loads(re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)[0])
    yield from (one["command"] for one in services().values())
    yield from (pod["containers"][0]["command"] for pod in pods().values())
    started = re.findall(
        r"^ExecStart=/opt/metermend/bin/(.*)$", "\n".join(one.read_text() for one in UNITS), re.MULTILINE
    )
    yield from map(shlex.split, started)
    yield from (line.partition(": ")[2].partition(" && ")[0].split() for line in procfile().splitlines())


def procfile() -> str:
    return (ROOT / "Procfile").read_text()


def test_every_command_that_is_started_exists() -> None:
    started = list(commands())
    assert len(started) == 1 + 4 + 4 + 4 + 4
    for program, *arguments in started:
        if program == "gunicorn":
            assert arguments[0] == "-c"
            assert importlib.util.find_spec(arguments[1].removeprefix("python:"))
        else:
            assert (program, arguments[0] in COMMANDS) == ("metermend", True), arguments


def variables() -> Iterator[str]:
    """The names of all variables that are set anywhere."""
    yield from re.findall(r"(?:^ENV |\s)([A-Z_]+)=\S", "\n".join(re.findall(r"^ENV .*$", DOCKERFILE, re.MULTILINE)))
    yield from (name for one in services().values() for name in one["environment"])
    yield from (name for one in manifests() if one["kind"] == "ConfigMap" for name in one["data"])
    for line in (line for file in UNITS for line in file.read_text().splitlines()):
        if line.startswith("Environment="):
            yield from (part.partition("=")[0] for part in line.removeprefix("Environment=").split())


def test_every_variable_that_is_set_is_read() -> None:
    """A misspelt one is no error anywhere: the service runs without its setting."""
    known = {name.upper() for name in Settings.model_fields} | OTHERS
    names = set(variables())
    assert len(names) > 10
    assert {name for name in names if name.removesuffix("_FILE") not in known} == set()


def test_every_secret_that_is_named_is_there() -> None:
    """A setting whose file is not there ends the start."""
    for one in services().values():
        files = {value for name, value in one["environment"].items() if name.endswith("_FILE")}
        assert files == {f"/run/secrets/{secret}" for secret in one["secrets"]}
        assert set(one["secrets"]) <= set(compose()["secrets"])
    shared = (DEPLOY / "systemd" / "metermend-.service.d" / "common.conf").read_text()
    loaded = re.findall(r"^LoadCredential=(\w+):/etc/metermend/secrets/\1$", shared, re.MULTILINE)
    assert sorted(re.findall(r"_FILE=%d/(\w+)", shared)) == sorted(loaded)


@pytest.mark.parametrize("on_heroku", [True, False])
def test_the_release_line_ends_on_heroku_alone(tmp_path: Path, *, on_heroku: bool) -> None:
    """foreman and honcho stop all lines with the first that ends; Heroku starts none before this one has ended."""
    (tmp_path / "metermend").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "metermend").chmod(0o755)
    [line] = re.findall(r"^release: (.*)$", procfile(), re.MULTILINE)
    own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **({"DYNO": "release.1"} if on_heroku else {})}
    with subprocess.Popen(["sh", "-c", line], env=own, stdout=subprocess.PIPE, text=True) as release:
        assert release.stdout
        assert release.stdout.readline() == "db upgrade\n"
        try:
            assert (release.wait(5 if on_heroku else 0.3), on_heroku) == (0, True)
        except subprocess.TimeoutExpired:
            assert not on_heroku
        release.terminate()


def test_whoever_is_stopped_has_the_time_that_the_code_takes() -> None:
    """A worker that is killed leaves its event to the next, and after three deaths the event ends as failed."""
    seconds = {
        name: int(str(one["stop_grace_period"]).removesuffix("s"))
        for name, one in services().items()
        if name != "migrate"
    }
    units = {name: f"metermend-{name}{'@' * (name == 'worker')}.service" for name in seconds}
    unit_seconds = {name: unit(file).getint("Service", "TimeoutStopSec") for name, file in units.items()}
    pod_seconds = {name: pods()[name]["terminationGracePeriodSeconds"] for name in seconds}
    for given in (seconds, unit_seconds, pod_seconds):
        assert given["web"] > GUNICORN_SECONDS + 5
        assert given["worker"] >= JOB_SECONDS
        assert given["clock"] > LAST_SECONDS


def test_ports_and_probes_are_those_of_the_web() -> None:
    """No post of Stripe's would find it, or it is restarted for ever."""
    assert re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE) == [str(PORT)]
    assert services()["web"]["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    [container] = pods()["web"]["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": PORT}]
    probes = {one["httpGet"]["path"] for name, one in container.items() if name.endswith("Probe")}
    asked = set(re.findall(r"'(/\w+)'", DOCKERFILE)) | probes
    assert asked == {"/healthz"}, "see web.yaml: /readyz takes no pod out of service"
    app = Flask("probed")
    app.register_blueprint(blueprint)
    assert "/healthz" in {str(rule) for rule in app.url_map.iter_rules()}


def test_the_image_is_built_from_what_the_context_holds() -> None:
    """A build that lacks a file, or an image with somebody's .env in it."""
    copied = {
        part for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for part in line.split()
    }
    ignored, *kept = [
        line for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if not line.startswith("#")
    ]
    assert ignored == "*"
    assert {line[1:] for line in kept if line.startswith("!")} == copied
    assert [path for path in copied if not (ROOT / path).exists()] == []


def test_what_builds_the_wheel_in_the_image_is_pinned_by_its_hash(tmp_path: Path) -> None:
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    [step] = re.findall(r"(awk .*) >build\.lock", DOCKERFILE)
    lock = subprocess.run(["sh", "-c", step], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert re.match(r"setuptools==\S+ \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+\Z", lock)
    assert DOCKERFILE.count("--require-hashes") == 2


def test_no_process_runs_as_root_or_writes_beside_its_state() -> None:
    assert "\nUSER 10001:10001\n" in DOCKERFILE
    for one in services().values():
        assert (one["read_only"], one["cap_drop"]) == (True, ["ALL"])
    for pod in pods().values():
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["containers"][0]["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
        }  # fmt: skip


def test_the_runbook_names_what_the_key_must_be_allowed_as_doctor_does() -> None:
    """Somebody makes a key by the table, and is told by `doctor` of a permission that it does not have."""
    table = (ROOT / "docs" / "OPERATIONS.md").read_text().partition("## What the API key must be allowed")[2]
    assert [named for named in PERMISSIONS.values() if named not in table.partition("\n## ")[0]] == []
