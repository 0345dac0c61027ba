"""If these fail, an operator deploys what cannot work, and learns of it from an invoice."""

import json
import shutil
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final, TypeVar

import pytest
from werkzeug.security import generate_password_hash

from tests.unit.cli.usage import run
from workers.cli import doctor_checks
from workers.cli.doctor_slack import alerts_way
from workers.kernel.ledger import connect
from workers.kernel.ledger.events import NewEvent
from workers.kernel.ledger.heartbeats import Sign
from workers.kernel.settings import Settings

Answer = tuple[int, Any]
T = TypeVar("T")
Case = tuple[dict[str, T], str]
"""What differs from what is sound, and how doctor's line begins."""
HASH: Final = generate_password_hash("correct horse", method="pbkdf2:sha256:1")
NO_PERMISSION: Final = (403, {"error": {"message": "The key does not have the required permissions."}})
ROLLED: Final = (401, {"error": {"message": "Invalid API Key provided."}})
SNAPSHOT: Final = {
    "event_payload": "snapshot",
    "status": "enabled",
    "enabled_events": [
        *("data_management.import_set.failed", "data_management.import_set.succeeded"),
        *("customer.created", "billing.meter.reactivated"),
    ],
}
THIN: Final = {
    "event_payload": "thin",
    "status": "enabled",
    "enabled_events": ["v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found"],
}


def listed(*data: dict[str, Any]) -> Answer:
    return 200, {"object": "list", "data": list(data), "has_more": False}


SOUND: Final[dict[str, Answer]] = {
    "/v1/account": (200, {"object": "account", "id": "acct_1"}),
    **dict.fromkeys(("/v1/billing/meters", "/v1/events", "/v1/customers", "/v1/files"), listed()),
    **dict.fromkeys(("/v1/prices", "/v1/subscriptions", "/v2/core/events"), listed()),
    "/v2/core/event_destinations": listed(SNAPSHOT, THIN),
    "/v1/billing/meter_events": (400, {"error": {"message": "Missing required param: event_name."}}),
    "/v1/billing/meter_event_adjustments": (400, {"error": {"message": "Missing required param: type."}}),
    "/v1/events/search": (401, {"message": "Unauthorized"}),
    "/services/T/B/x": (400, "no_text"),
    "/services/T/B/gone": (404, "no_service"),
    "/api/auth.test": (200, {"ok": True, "user": "metermend", "team": "Acme"}),
    "/api/conversations.info": (200, {"ok": True, "channel": {"is_member": True}}),
}
"""What Stripe and Slack answer to whom all is allowed."""


@dataclass
class Servers:
    """Stripe and Slack at one address; `asked` are the posts that came."""

    url: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, bytes]] = field(default_factory=list)


@pytest.fixture(scope="module")
def address() -> Iterator[Servers]:
    servers = Servers()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            if self.command == "POST":
                servers.asked.append((path, body))
            status, answer = (servers.answers | {}).get(path, (404, {"error": {"message": f"no {path}"}}))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write((answer if isinstance(answer, str) else json.dumps(answer)).encode())

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        servers.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield servers
        server.shutdown()


@pytest.fixture
def company(
    address: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, migrated_sqlite: Path
) -> Callable[..., list[str]]:
    """Set up what is sound, but for what is named; returns the lines that doctor prints, and its exit code."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor_checks, "alerts_way", partial(alerts_way, slack=f"{address.url}/api/"))
    monkeypatch.setattr("workers.stripe_api.call.FIRST_BACKOFF", 0.0)
    for name in ("usage", "archive", "scratch"):
        (tmp_path / name).mkdir()
    (tmp_path / "usage" / "day.csv").write_text("identifier\n")
    (tmp_path / "file").write_text("")
    shutil.copy(migrated_sqlite, tmp_path / "ledger.db")
    sound = {
        "STRIPE_API_KEY": "rk_test_made_up",
        "STRIPE_WEBHOOK_SECRETS": "whsec_made_up_thin,whsec_made_up_snapshot",
        "STRIPE_API_BASE": address.url,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db",
        "ARCHIVE_URL": "archive",
        "SCRATCH_DIR": "scratch",
        "USAGE_SOURCES": "usage",
        "SUBMIT_TO": "meter-events",
        "SLACK_WEBHOOK_URL": f"{address.url}/services/T/B/x",
        "CONSOLE_URL": "https://metermend.example.com",
        "CONSOLE_PASSWORD_HASH": HASH,
    }

    def said(answers: dict[str, Answer] | None = None, **changes: str) -> list[str]:
        address.answers = SOUND | (answers or {})
        address.asked.clear()
        for name, value in (sound | changes).items():
            monkeypatch.setenv(name, value.replace("$STUB", address.url))
        result = run("doctor", width=300)
        assert "Traceback" not in result.output
        return [*result.stdout.splitlines(), f"exit {result.exit_code}"]

    return said


WRONG: Final[list[tuple[dict[str, str], str]]] = [
    ({"STRIPE_WEBHOOK_SECRETS": "whsec_"}, "MEND STRIPE_WEBHOOK_SECRETS: number 1 of 1 is no signing secret"),
    ({"STRIPE_WEBHOOK_SECRETS": "whsec_..."}, "MEND STRIPE_WEBHOOK_SECRETS: number 1 of 1 is no signing secret"),
    ({"STRIPE_WEBHOOK_SECRETS": "sk_test_1"}, "MEND STRIPE_WEBHOOK_SECRETS: number 1 of 1 is no signing secret"),
    ({"STRIPE_WEBHOOK_SECRETS": "whsec_a,whsec_"}, "note STRIPE_WEBHOOK_SECRETS: number 2 of 2 is no signing"),
    ({"STRIPE_WEBHOOK_SECRETS": "whsec_a"}, "note STRIPE_WEBHOOK_SECRETS: one secret only"),
    ({"STRIPE_WEBHOOK_SECRETS": "whsec_a b"}, "MEND STRIPE_WEBHOOK_SECRETS: character 8 of 9 is a blank"),
    ({"STRIPE_WEBHOOK_SECRETS": ""}, "MEND STRIPE_WEBHOOK_SECRETS: no signing secret"),
    ({"STRIPE_API_KEY": ""}, "MEND STRIPE_API_KEY: no API key"),
    ({"STRIPE_API_KEY": "pk_live_x"}, "MEND STRIPE_API_KEY: is a publishable key"),
    ({"STRIPE_API_KEY": "whsec_x"}, "MEND STRIPE_API_KEY: is a signing secret"),
    ({"STRIPE_API_KEY": "sk_test_"}, "MEND STRIPE_API_KEY: is no API key"),
    ({"STRIPE_API_KEY": "made-up"}, "MEND STRIPE_API_KEY: is no API key"),
    ({"STRIPE_API_BASE": "$STUB/elsewhere"}, "MEND Stripe: /v1/billing/meters: Stripe answered 404"),
    ({"STRIPE_API_BASE": "http://127.0.0.1:1"}, "MEND Stripe: Stripe could not be reached"),
    ({"STRIPE_API_BASE": "api.stripe.com"}, "MEND STRIPE_API_BASE: no web address"),
    ({"SLACK_WEBHOOK_URL": "https://api.slack.com/apps/A1"}, "note SLACK_WEBHOOK_URL: is a page of Slack's"),
    ({"SLACK_WEBHOOK_URL": "$STUB/services/T/B/gone"}, "MEND alerts: Slack answered 404 no_service"),
    ({"SLACK_WEBHOOK_URL": "http://127.0.0.1:1/x"}, "MEND alerts: Slack could not be reached (Connection refused)"),
    ({"SLACK_WEBHOOK_URL": "hooks.slack.com/x"}, "MEND alerts: SLACK_WEBHOOK_URL is no web address"),
    ({"SLACK_BOT_TOKEN": "xoxp-1", "SLACK_CHANNEL": "C024"}, "note SLACK_BOT_TOKEN: is no bot token"),
    ({"SLACK_BOT_TOKEN": "xoxb-1"}, "note SLACK_CHANNEL: unset"),
    ({"SLACK_CHANNEL": "C024"}, "note SLACK_BOT_TOKEN: unset"),
    ({"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_CHANNEL": "#a, #b"}, "note SLACK_CHANNEL: is no channel"),
    ({"CONSOLE_URL": "metermend.example.com"}, "MEND CONSOLE_URL: no web address"),
    ({"CONSOLE_URL": "http://metermend.example.com"}, "note CONSOLE_URL: is no https address"),
    ({"CONSOLE_URL": "https://localhost:4242"}, "note CONSOLE_URL: leads to the reader's own machine"),
    ({"CONSOLE_URL": "https://a.example/console/"}, "note CONSOLE_URL: is not the address of the web itself"),
    ({"CONSOLE_PASSWORD_HASH": "hunter2"}, "MEND CONSOLE_PASSWORD_HASH: not a password hash"),
    ({"CONSOLE_PASSWORD_HASH": "scrypt:32768:8:1"}, "MEND CONSOLE_PASSWORD_HASH: not a password hash"),
    ({"SESSION_SECRET": "secret"}, "note SESSION_SECRET: is shorter than 16 characters"),
    ({"SCRATCH_DIR": "file/below"}, "MEND SCRATCH_DIR: file/below: "),
    ({"SCRATCH_DIR": "/proc"}, "MEND SCRATCH_DIR: /proc: /proc is no directory that we may write to"),
    ({"ARCHIVE_URL": "/proc/archive"}, "MEND ARCHIVE_URL: /proc/archive: /proc is no directory that we may"),
    ({"ARCHIVE_URL": "ftp://there"}, "MEND ARCHIVE_URL: ftp://there: ftp:// is no place"),
    ({"SUBMIT_TO": "file:///proc/x"}, "MEND SUBMIT_TO: file:///proc/x: /proc is no directory that we may write to"),
    ({"SUBMIT_TO": ""}, "note SUBMIT_TO: unset"),
    ({"SUBMIT_TO": "metronome"}, "MEND METRONOME_TOKEN: unset"),
    (
        {"SUBMIT_TO": "metronome", "METRONOME_TOKEN": "x", "METRONOME_BASE": "$STUB"},
        "MEND Metronome: /v1/events/search: Metronome answered 401",
    ),
    ({"USAGE_SOURCES": "missing"}, "MEND USAGE_SOURCES: missing does not exist"),
    ({"RULES_FILE": "missing.toml"}, "MEND RULES_FILE: missing.toml"),
    ({"REDIS_URL": "http://127.0.0.1"}, "MEND Redis: REDIS_URL"),
    ({"DATABASE_URL": "sqlite:///other.db"}, "MEND ledger: no ledger at"),
    ({"DATABASE_URL": "mysql://there/x"}, "MEND ledger: DATABASE_URL"),
    ({"PORT": "many"}, "MEND PORT: Input should be a valid integer"),
    ({"SILENCE_HOURS": "-1"}, "MEND SILENCE_HOURS: Input should be greater than or equal to 0"),
    ({"DIGEST": "monday"}, "MEND DIGEST: no weekday and time"),
    ({"OIDC_ISSUER": "http://127.0.0.1:1"}, "MEND OIDC_ISSUER: http://127.0.0.1:1 could not be reached"),
    ({"OIDC_ISSUER": "http://login.invalid"}, "note OIDC_ISSUER: is no https address"),
    ({"OIDC_ISSUER": "http://127.0.0.1:1", "OIDC_CLIENT_SECRET": "x"}, "note OIDC_CLIENT_ID: unset"),
    ({"METERMEND_PORT": "80"}, "note METERMEND_PORT: is set, but nothing reads it"),
    ({"METERMEND_COLOUR": "red"}, "note METERMEND_COLOUR: is set, but nothing reads it"),
    ({"SESION_SECRET": "x"}, "note SESION_SECRET: is set, but nothing reads it"),
    ({"STRIPE_ENDPOINT_SECRET": "x", "STRIPE_WEBHOOK_SECRETS": ""}, "note STRIPE_ENDPOINT_SECRET: is set, but"),
    ({"STRIPE_API_KEY": "", "STRIPE_API_KEY_FILE": "missing"}, "MEND STRIPE_API_KEY_FILE: cannot be read"),
]


def at_once(cases: Iterable[Case[T]], topic: Callable[[str], str]) -> list[list[Case[T]]]:
    """Put cases together that one run of doctor can find, being of different topics: a run takes time."""
    runs: list[tuple[set[str], list[Case[T]]]] = []
    for case in cases:
        topics = set(map(topic, case[0]))
        fits = next((run for run in runs if not run[0] & topics), None)
        if fits is None:
            runs.append(fits := (set(), []))
        fits[0].update(topics)
        fits[1].append(case)
    return [found for _, found in runs]


def topic_of(setting: str) -> str:
    """Return what a setting is about: those of one topic hide each other."""
    by_name = {"SESION_SECRET": "SESSION_SECRET", "STRIPE_ENDPOINT_SECRET": "STRIPE_WEBHOOK_SECRETS"}
    return next(
        (start for start in ("SLACK", "STRIPE_API") if setting.startswith(start)), by_name.get(setting, setting)
    )


def require_mend(said: list[str], line: str) -> None:
    """Find the line, with a line below it that says what to do."""
    found = [number for number, one in enumerate(said) if one.startswith(line)]
    assert found, "\n".join([line, *said])
    assert said[found[0] + 1].startswith("     -> ")


@pytest.mark.parametrize("together", at_once(WRONG, topic_of))
def test_a_wrong_setting_is_named_with_its_mend(
    company: Callable[..., list[str]], together: list[Case[str]]
) -> None:
    said = company(**{name: value for changes, _ in together for name, value in changes.items()})
    for _, line in together:
        require_mend(said, line)
    for secret in ("xoxb-1", "xoxp-1", "hunter2", "whsec_a", "/services/T/B"):
        assert secret not in "\n".join(said)


ALLOWED: Final = "permissions: read on Meters, read on Events, read on Customers, read on Files"


ROLLED_KEY: Final[Case[Answer]] = (
    {"/v1/billing/meters": ROLLED},
    "MEND Stripe: /v1/billing/meters: Stripe answered 401",
)
FORBIDDEN: Final[list[tuple[dict[str, Answer], str]]] = [
    ({"/v1/billing/meters": NO_PERMISSION}, "MEND permission: read on Meters: "),
    ({"/v1/events": NO_PERMISSION}, "MEND permission: read on Events: "),
    ({"/v1/customers": NO_PERMISSION}, "MEND permission: read on Customers: "),
    ({"/v1/files": NO_PERMISSION}, "MEND permission: read on Files: "),
    ({"/v2/core/events": NO_PERMISSION}, "MEND permission: read on Events and on Meters: "),
    ({"/v1/billing/meter_events": NO_PERMISSION}, "MEND permission: write on Meter events: "),
    ({"/v1/billing/meter_event_adjustments": NO_PERMISSION}, "MEND permission: write on Meter event adj"),
    ({"/v1/prices": NO_PERMISSION}, "note permission: read on Prices: "),
    ({"/v1/subscriptions": NO_PERMISSION}, "note permission: read on Subscriptions: "),
    ({"/v1/account": NO_PERMISSION}, "note Stripe account: the key may not read its own account"),
    ({"/v2/core/event_destinations": NO_PERMISSION}, "note event destinations: cannot be listed: "),
    ({"/v2/core/event_destinations": listed(SNAPSHOT)}, "MEND event destinations: no thin destination is enabled"),
    ({"/v2/core/event_destinations": listed(THIN)}, "MEND event destinations: no snapshot destination is enabled"),
    (
        {"/v2/core/event_destinations": listed(SNAPSHOT, THIN | {"status": "disabled"})},
        "MEND event destinations: no thin destination is enabled",
    ),
    (
        {
            "/v2/core/event_destinations": listed(
                THIN, SNAPSHOT | {"enabled_events": ["data_management.import_set.failed"]}
            )
        },
        "MEND event destinations: no snapshot destination sends data_management.import_set.succeeded",
    ),
]


@pytest.mark.parametrize("together", [[ROLLED_KEY], *at_once(FORBIDDEN, str)])
def test_what_the_key_may_not_and_what_stripe_does_not_send_is_named(
    company: Callable[..., list[str]], together: list[Case[Answer]]
) -> None:
    said = company({path: answer for answers, _ in together for path, answer in answers.items()})
    for _, line in together:
        require_mend(said, line)


def test_the_stream_needs_a_session_and_no_permission_of_the_api(company: Callable[..., list[str]]) -> None:
    """Its calls would be refused at the first usage that is to be sent."""
    answers: dict[str, Answer] = {"/v2/billing/meter_event_session": NO_PERMISSION}
    said = company(answers, SUBMIT_TO="meter-event-stream")
    require_mend(said, "MEND permission: write on Meter events: /v2/billing/meter_event_session")


def test_a_token_of_metronome_beside_a_test_key_is_pointed_out(company: Callable[..., list[str]]) -> None:
    """Usage that somebody tries out would be on a customer's invoice."""
    answers: dict[str, Answer] = {"/v1/events/search": (200, "[]")}
    said = company(answers, SUBMIT_TO="metronome", METRONOME_TOKEN="x", METRONOME_BASE="$STUB")
    require_mend(said, "note Metronome: the token may search; STRIPE_API_KEY is a test key")


def test_types_that_only_save_time_are_a_hint(company: Callable[..., list[str]]) -> None:
    """Usage that waits for a customer would go out a day later, and nobody would know that it need not."""
    needed = SNAPSHOT | {"enabled_events": SNAPSHOT["enabled_events"][:2]}
    said = company({"/v2/core/event_destinations": listed(needed, THIN)})
    [hint] = [one for one in said if one.startswith("note event destinations: ")]
    assert "no customer.created (snapshot) and no v1.billing.meter.reactivated (thin or snapshot)" in hint
    said = company({"/v2/core/event_destinations": listed(SNAPSHOT | {"enabled_events": ["*"]}, THIN)})
    assert not any(one.startswith("note event destinations: ") for one in said)


@pytest.mark.parametrize(
    ("method", "answer", "line"),
    [
        ("auth.test", (200, {"ok": False, "error": "invalid_auth"}), "MEND alerts: Slack answered inv"),
        (
            "conversations.info",
            (200, {"ok": False, "error": "channel_not_found"}),
            "MEND alerts: Slack answered c",
        ),
        (
            "conversations.info",
            (200, {"ok": True, "channel": {"is_member": False}}),
            "note alerts: metermend of Acme is not in C024",
        ),
        ("conversations.info", (200, {"ok": False, "error": "missing_scope"}), "ok   alerts: Slack, as metermend"),
    ],
)
def test_a_bot_that_cannot_post_is_named(
    company: Callable[..., list[str]], method: str, answer: Answer, line: str
) -> None:
    said = company({f"/api/{method}": answer}, SLACK_BOT_TOKEN="xoxb-1", SLACK_CHANNEL="C024")
    assert any(one.startswith(line) for one in said), "\n".join(said)


def test_a_key_of_the_other_mode_than_the_events_is_named(
    company: Callable[..., list[str]], tmp_path: Path, migrated_sqlite: Path
) -> None:
    ledger = connect(f"sqlite:///{tmp_path}/ledger.db")
    ledger.events.record(NewEvent("evt_1", "thin", "v1.billing.meter.no_meter_found", True, b"{}"))
    ledger.close()
    line = "MEND STRIPE_API_KEY: is a test key, and the last event that arrived is of live mode"
    assert line in company()


def test_a_disk_that_is_full_is_named(company: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", ("total", "used", "free"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 1 << 40, 1 << 20))
    said = company()
    for name, place in (("SCRATCH_DIR", "scratch"), ("ARCHIVE_URL", "archive")):
        assert f"MEND {name}: {place}: only 1 MiB are free, and 256 are needed" in said


def test_what_is_sound_is_found_so_and_nothing_is_posted(
    company: Callable[..., list[str]], address: Servers, redis_url: str, tmp_path: Path
) -> None:
    ledger = connect(f"sqlite:///{tmp_path}/ledger.db")
    for sign in (Sign.WORKER, Sign.CLOCK, Sign.ARCHIVE):
        ledger.heartbeats.beat(sign)
    ledger.close()
    said = company(REDIS_URL=redis_url)
    assert [one for one in said if one[:4] in {"MEND", "note"}] == []
    assert any(one.startswith(f"ok   {ALLOWED}") for one in said)
    assert said[-1] == "exit 0"
    assert [body for _, body in address.asked] == [b'{"text": ""}', b"", b""]


def test_dead_parts_are_named_and_stop_no_deployment(company: Callable[..., list[str]], redis_url: str) -> None:
    said = company(REDIS_URL=redis_url)
    assert any(one.startswith("note worker: no worker runs") for one in said)
    assert any(one.startswith("note clock: no clock runs") for one in said)
    assert said[-1] == "exit 0"


def test_one_message_is_sent_as_a_test_and_what_came_of_it_is_said(
    company: Callable[..., list[str]], address: Servers
) -> None:
    company({"/services/T/B/x": (200, "ok")})
    address.asked.clear()
    sent = run("alert", "test")
    assert (sent.exit_code, "Slack has taken the message" in sent.output) == (0, True)
    [(path, body)] = address.asked
    assert (path, "A test of metermend" in body.decode()) == ("/services/T/B/x", True)
    address.answers["/services/T/B/x"] = (404, "no_service")
    refused = run("alert", "test")
    assert (refused.exit_code, "no_service - check SLACK_WEBHOOK_URL" in refused.output) == (2, True)
