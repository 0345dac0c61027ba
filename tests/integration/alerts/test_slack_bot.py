"""The real client of a bot against a server that stands for Slack's Web API: one message, kept up to date."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from tests.unit.alerts.test_slack import NOTICE
from workers.alerts import SlackBot, Trouble
from workers.cli.doctor_slack import alerts_way
from workers.kernel.errors import Permanent, Transient
from workers.kernel.settings import load

TOKEN = "xoxb-made-up"
Answer = tuple[int, dict[str, Any], dict[str, str]]


@dataclass
class WebApi:
    """Answers by method, `refusals` first; `calls` are (method, what was said)."""

    url: str = ""
    refusals: dict[str, Answer] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def answer(self, method: str, said: dict[str, Any]) -> Answer:
        self.calls.append((method, said))
        if method in self.refusals:
            return self.refusals[method]
        if method == "auth.test":
            return 200, {"ok": True, "user": "metermend", "team": "Acme"}, {}
        return 200, {"ok": True, "channel": "C024", "ts": said.get("ts", f"17.{len(self.calls)}")}, {}

    def methods(self) -> list[str]:
        return [method for method, _ in self.calls]


@contextmanager
def serving(api: WebApi) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = json.loads(body) if "json" in (self.headers["Content-Type"] or "") and body else {}
            assert self.headers["Authorization"] == f"Bearer {TOKEN}"
            status, answer, headers = api.answer(self.path.rpartition("/")[2], said)
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api.url = f"http://127.0.0.1:{server.server_port}/api/"
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield
        server.shutdown()


@pytest.fixture
def slack() -> Iterator[WebApi]:
    api = WebApi()
    with serving(api):
        yield api


@pytest.fixture
def bot(slack: WebApi) -> SlackBot:
    return SlackBot(TOKEN, "#billing", api=slack.url)


def refused(error: str) -> Answer:
    return 200, {"ok": False, "error": error}, {}


def test_an_incident_is_one_message_with_its_details_in_the_thread(bot: SlackBot, slack: WebApi) -> None:
    name = bot.post(NOTICE)
    assert name == "C024/17.1"
    (_, message), (_, details) = slack.calls
    assert (message["channel"], message["text"]) == ("#billing", NOTICE.headline)
    assert "metermend retry case_3f2a" in json.dumps(message["blocks"])
    assert "timestamp_in_future" not in json.dumps(message["blocks"])
    assert details["thread_ts"] == "17.1"
    assert "timestamp_in_future" in json.dumps(details["blocks"])
    assert "s3://usage/metermend-1.csv" in json.dumps(details["blocks"])


def test_it_is_changed_in_place(bot: SlackBot, slack: WebApi) -> None:
    """A second message would stand beside the first one, and somebody would act on the old numbers."""
    assert bot.post(replace(NOTICE, headline="Over"), "C024/17.1") == "C024/17.1"
    assert slack.methods() == ["chat.update", "chat.postMessage"]
    changed = slack.calls[0][1]
    assert (changed["channel"], changed["ts"], changed["text"]) == ("C024", "17.1", "Over")
    assert slack.calls[1][1]["thread_ts"] == "17.1"


@pytest.mark.parametrize("error", ["message_not_found", "edit_window_closed"])
def test_a_message_that_somebody_deleted_is_posted_anew(bot: SlackBot, slack: WebApi, error: str) -> None:
    slack.refusals["chat.update"] = refused(error)
    assert bot.post(NOTICE, "C024/17.1") == "C024/17.2"


def test_trouble_is_a_message_that_stays(bot: SlackBot, slack: WebApi) -> None:
    assert bot.post(Trouble("evt_1", "an event could not be worked on", "no such file")) is None
    assert slack.methods() == ["chat.postMessage"]


def test_a_full_rate_limit_hands_the_wait_back(bot: SlackBot, slack: WebApi) -> None:
    slack.refusals["chat.postMessage"] = (429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "30"})
    with pytest.raises(Transient) as raised:
        bot.post(NOTICE)
    assert raised.value.retry_after == 30
    assert len(slack.calls) == 1


@pytest.mark.parametrize(
    ("error", "mend"), [("invalid_auth", "SLACK_BOT_TOKEN"), ("not_in_channel", "invite the bot"), ("x", "check")]
)
def test_what_slack_will_never_take_names_its_mend_and_no_token(
    bot: SlackBot, slack: WebApi, error: str, mend: str
) -> None:
    slack.refusals["chat.postMessage"] = refused(error)
    with pytest.raises(Permanent, match=mend) as raised:
        bot.post(NOTICE)
    assert "made-up" not in str(raised.value)


def test_nobody_at_the_address_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    bot = SlackBot(TOKEN, "#billing", api="http://127.0.0.1:1/api/")
    monkeypatch.setattr(bot._client, "retry_handlers", [])
    with pytest.raises(Transient):
        bot.post(NOTICE)


def test_doctor_asks_whose_token_it_is(slack: WebApi) -> None:
    """A token that was revoked would be noticed at the first night when it matters."""
    settings = load({"slack_bot_token": TOKEN, "slack_channel": "#billing"})
    assert (
        alerts_way(settings, slack.url)
        == "Slack, as metermend of Acme, into #billing; messages are changed in place"
    )
    slack.refusals["auth.test"] = refused("token_revoked")
    with pytest.raises(Permanent, match="copy the bot token"):
        alerts_way(settings, slack.url)
    assert "printed" in alerts_way(load())
