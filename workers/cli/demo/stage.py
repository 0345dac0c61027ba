"""The demo's stage: Redis, the twin, web, workers, clock and a stand-in for Slack, on a folder of their own."""

import fcntl
import json
import secrets
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self

import requests
from werkzeug.security import generate_password_hash

from workers.cli.db import migrate
from workers.cli.demo.stripe_cli import FOLDER, KEY, cli_variables
from workers.cli.processes import Processes, free_ports, own_command, redis_command, web_command
from workers.kernel.errors import InputUnusable

PORT: Final = 4242
WORKERS: Final = 2
TWIN_SETTINGS: Final = (
    "poll_seconds=0.3",
    "window_seconds=1",
    "report_lag=0.2",
    "sample_cap=2",
    "retry_seconds=1",
)
"""Stripe polls every five minutes and validates in windows of ten seconds; a demo has no time for that."""
SETTINGS: Final = {
    "CONFIRMATION_WINDOW": "4",
    "SWEEP_INTERVAL": "1",
    "SUBMIT_PACE_SECONDS": "0",
    "LOG_FORMAT": "json",
}
SCRATCH_TIMEOUT: Final = 30.0
MOST_DEMOS: Final = 9
"""At a time in one place."""


@dataclass(frozen=True)
class Stage:
    """Where everything is."""

    folder: Path
    web_url: str
    twin_url: str
    hosts_url: str
    database_url: str
    password: str

    @property
    def bucket(self) -> Path:
        """The folder that the twin's connector polls."""
        return self.folder / "bucket"

    @property
    def sources(self) -> Path:
        """The sender's own copies."""
        return self.folder / "sources"

    @property
    def environment(self) -> Path:
        """A file to source: with it every `metermend` command works on the demo's ledger and archive."""
        return self.folder / "env"

    @property
    def cli_environment(self) -> Path:
        """A file to source: with it the Stripe CLI speaks with the twin where it would with Stripe."""
        return self.folder / "stripe-cli.env"

    @property
    def cli_variables(self) -> dict[str, str]:
        """What stands in that file."""
        return cli_variables(self.hosts_url, self.authority)

    @property
    def authority(self) -> Path:
        """The certificate (PEM) of who signs for Stripe's hosts here."""
        return self.folder / "stripe-ca.pem"

    @property
    def archive(self) -> Path:
        """Where record sets are kept."""
        return self.folder / "archive"

    def play_bad_day(self) -> Mapping[str, int]:
        """Let the company live through its day and return how many records it sent."""
        day = ["-m", "fixtures.bad_day", "--twin", self.twin_url]
        places = ["--bucket", str(self.bucket), "--sources", str(self.sources)]
        done = subprocess.run(
            [sys.executable, *day, *places], capture_output=True, text=True, timeout=SCRATCH_TIMEOUT, check=False
        )
        if done.returncode:
            raise InputUnusable(f"the day could not be played: {done.stderr.strip().splitlines()[-1]}")
        return dict(json.loads(done.stdout))

    def twin_state(self) -> dict[str, Any]:
        """Return what the twin knows of itself."""
        return dict(requests.get(f"{self.twin_url}/_control/state", timeout=SCRATCH_TIMEOUT).json())


def set_stage(folder: Path, processes: Processes, slack_url: str) -> Stage:
    """Start everything and return where it is. Raises InputUnusable when something does not start."""
    _empty(folder)
    (folder / "bucket").mkdir(parents=True)
    (folder / "sources").mkdir()
    web, twin, hosts, redis = free_ports(PORT, 12111, 12112, 0)
    stage = Stage(
        folder,
        f"http://127.0.0.1:{web}",
        f"http://127.0.0.1:{twin}",
        f"http://127.0.0.1:{hosts}",
        f"sqlite:///{folder}/ledger.db",
        secrets.token_urlsafe(9),
    )
    signing = [f"whsec_demo_{secrets.token_hex(8)}" for _ in ("snapshot", "thin", "listen")]
    env = _environment(stage, redis, slack_url, signing)
    keep_environment(stage, env)
    migrate(stage.database_url)
    processes.start("redis", redis_command(redis, folder / "redis"))
    processes.start("twin", _twin_command(stage, twin, signing))
    processes.start("stripe-hosts", _hosts_command(stage, hosts))
    processes.start("web", web_command(web), {**env, "WEB_CONCURRENCY": "1"})
    processes.wait_until_listening("redis", redis, 10)
    for number in range(WORKERS):
        processes.start(f"worker-{number + 1}", own_command("worker"), env)
    processes.start("clock", own_command("clock"), env)
    for name, port in (("twin", twin), ("stripe-hosts", hosts), ("web", web)):
        processes.wait_until_listening(name, port, 20)
    return stage


@contextmanager
def folder_of_its_own(folder: Path) -> Iterator[Path]:
    """Hold the folder, or `folder-2`, `folder-3` … where demos run in those before it: none empties another's."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for place in (folder, *(folder.with_name(f"{folder.name}-{number}") for number in range(2, MOST_DEMOS + 1))):
        with place.with_name(f"{place.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield place
            return
    raise InputUnusable(f"{MOST_DEMOS} demos are running", where=str(folder), mend="end one, or name another --dir")


def _empty(folder: Path) -> None:
    """Remove what an earlier demo left. Raises InputUnusable where something else lies."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "bucket").is_dir():
        raise InputUnusable("no demo has made this folder", where=str(folder), mend="name another with --dir")
    shutil.rmtree(folder, ignore_errors=True)


def keep_environment(stage: Stage, env: Mapping[str, str]) -> None:
    """Write the files to source: one for `metermend`, which it puts on the PATH, and one for the Stripe CLI."""
    stage.environment.touch(mode=0o600)
    stage.environment.write_text(_as_shell(env) + _on_path(Path(sys.executable).parent))
    stage.cli_environment.write_text(_as_shell(stage.cli_variables) + _on_path(FOLDER.absolute()))


def _on_path(programs: Path) -> str:
    return f'PATH="$PATH":{shlex.quote(str(programs))}\n'


def _as_shell(env: Mapping[str, str]) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(env.items()))


def _environment(stage: Stage, redis: int, slack_url: str, signing: list[str]) -> dict[str, str]:
    places = {"STRIPE_API_BASE", "STRIPE_FILES_BASE", "STRIPE_METER_EVENTS_BASE"}
    return {
        **SETTINGS,
        **dict.fromkeys(places, stage.twin_url),
        "STRIPE_API_KEY": KEY,
        "STRIPE_WEBHOOK_SECRETS": ",".join(signing),
        "REDIS_URL": f"redis://127.0.0.1:{redis}/0",
        "DATABASE_URL": stage.database_url,
        "ARCHIVE_URL": str(stage.archive),
        "SCRATCH_DIR": str(stage.folder / "scratch"),
        "USAGE_SOURCES": str(stage.sources),
        "SUBMIT_TO": f"file://{stage.bucket}",
        "RULES_FILE": str(Path("fixtures/bad_day.rules.toml").resolve()),
        "SLACK_WEBHOOK_URL": slack_url,
        "CONSOLE_URL": stage.web_url,
        "CONSOLE_PASSWORD_HASH": generate_password_hash(stage.password),
    }


def _twin_command(stage: Stage, port: int, signing: list[str]) -> list[str]:
    snapshot, thin, listen = signing
    hooks = [f"{kind}={stage.web_url}/webhooks,{key}" for kind, key in (("snapshot", snapshot), ("thin", thin))]
    destinations = [part for hook in hooks for part in ("--destination", hook)]
    settings = [part for setting in (*TWIN_SETTINGS, f"listen_secret={listen}") for part in ("--set", setting)]
    bucket = ["--bucket", f"file://{stage.bucket}"]
    return [sys.executable, "-m", "fixtures.twin", "--port", str(port), *bucket, *destinations, *settings]


def _hosts_command(stage: Stage, port: int) -> list[str]:
    places = ["--ca", str(stage.authority), "--usage-log", str(stage.sources)]
    return [sys.executable, "-m", "fixtures.stripe_hosts", "--port", str(port), "--twin", stage.twin_url, *places]


class SlackSink:
    """Listens on a free port of this machine; `messages` are the payloads in the order in which they came."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        messages = self.messages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                says_something = bool(message.get("text"))  # `doctor` asks with an empty one, which Slack refuses
                if says_something:
                    messages.append(message)
                self.send_response(200 if says_something else 400)
                self.end_headers()
                self.wfile.write(b"ok" if says_something else b"no_text")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/services/demo"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
