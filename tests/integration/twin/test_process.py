"""The twin as a process: it says where it is, takes what it is given, and goes when told to."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.integration.twin.usage import csv, line

ROOT = Path(__file__).parents[3]


@contextmanager
def _process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "fixtures.twin", *arguments]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait_for(path: Path) -> str:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, "the twin did not start"
        time.sleep(0.05)
    return path.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_with_what_the_command_line_gives_and_ends_on_a_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    bucket, port_file = tmp_path / "bucket", tmp_path / "port"
    (tmp_path / "meters.json").write_text('[{"event_name": "calls", "formula": "count"}]')
    (tmp_path / "customers.txt").write_text("cus_a\ncus_b\n")
    arguments = ["--port", "0", "--port-file", str(port_file), "--bucket", bucket.as_uri(), "--set", "sample_cap=2"]
    arguments += ["--meters", str(tmp_path / "meters.json"), "--customers", str(tmp_path / "customers.txt")]
    arguments += ["--destination", "thin=http://127.0.0.1:1/hooks,whsec_a,whsec_b", "--set", "error_column=why"]
    with _process(*arguments) as process:
        url = f"http://127.0.0.1:{_wait_for(port_file)}"
        (bucket / "usage.csv").write_text(csv(line("a", "7")))
        requests.post(f"{url}/_control/poll", timeout=10)
        assert requests.get(f"{url}/_control/billed", timeout=5).json()["billed"][0]["total"] == "1"
        [destination] = requests.get(f"{url}/_control/destinations", timeout=5).json()["destinations"]
        assert destination["secrets"] == ["whsec_a", "whsec_b"]
        settings = requests.get(f"{url}/_control/settings", timeout=5).json()
        assert (settings["sample_cap"], settings["error_column"]) == (2, "why")
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stdout
        assert process.stdout.read() == f"{url}\n"
        assert process.stderr
        assert process.stderr.read() == ""


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        _process("--port", str(taken.getsockname()[1])) as process,
    ):
        assert process.wait(20) == 2
        assert process.stderr
        assert "in use" in process.stderr.read().splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [["--set", "nonsense=1"], ["--destination", "fat=http://127.0.0.1/,s"], ["--meters", "/nowhere.json"]],
)
def test_arguments_that_make_no_sense_end_in_one_line_and_code_2(arguments: list[str]) -> None:
    with _process("--port", "0", *arguments) as process:
        assert process.wait(20) == 2
        assert process.stderr
        text = process.stderr.read()
        assert "Traceback" not in text
        assert text.splitlines()[-1].startswith("python -m fixtures.twin: error:")
