"""The real client against a server that stands for Slack: what goes out, and what each answer means."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from slack_sdk.http_retry.interval_calculator import RetryIntervalCalculator

from tests.unit.alerts.test_slack import NOTICE
from workers.alerts import SlackAlerts
from workers.alerts.slack import RETRIES
from workers.kernel.errors import Permanent, Transient


@dataclass
class Slack:
    """Answers with `answers` in turn, the last one for ever; `None` cuts the connection."""

    url: str = ""
    answers: list[tuple[int, str, dict[str, str]] | None] = field(default_factory=lambda: [(200, "ok", {})])
    posts: list[dict[str, Any]] = field(default_factory=list)

    def next(self) -> tuple[int, str, dict[str, str]] | None:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def slack() -> Iterator[Slack]:
    there = Slack()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            there.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            answer = there.next()
            if answer is None:
                self.connection.close()
                return
            status, body, headers = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        there.url = f"http://127.0.0.1:{server.server_port}/services/T0/B0/made-up"
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield there
        server.shutdown()


@pytest.fixture
def alerts(slack: Slack, monkeypatch: pytest.MonkeyPatch) -> SlackAlerts:
    made = SlackAlerts(slack.url)

    class NoWait(RetryIntervalCalculator):
        def calculate_sleep_duration(self, current_attempt: int) -> float:
            return 0.0

    for handler in made._client.retry_handlers:
        monkeypatch.setattr(handler, "interval_calculator", NoWait())
    return made


def test_a_notice_goes_out_as_blocks_with_a_text_for_the_phone(alerts: SlackAlerts, slack: Slack) -> None:
    alerts.post(NOTICE)
    (post,) = slack.posts
    assert post["text"] == "1,312 rows of usage.csv were refused"
    assert [block["type"] for block in post["blocks"]] == [
        "header", "context", "section", "section", "section", "section", "section", "section", "actions", "context",
    ]  # fmt: skip
    assert "1,200 (readable quantity 53210.5) refused" in json.dumps(post["blocks"])


@pytest.mark.parametrize(
    ("status", "body"), [(404, "no_service"), (403, "invalid_token"), (410, "channel_is_archived"), (400, "x")]
)
def test_a_webhook_that_is_gone_is_permanent_and_names_the_setting(
    alerts: SlackAlerts, slack: Slack, status: int, body: str
) -> None:
    slack.answers = [(status, body, {})]
    with pytest.raises(Permanent, match="SLACK_WEBHOOK_URL"):
        alerts.post(NOTICE)
    assert len(slack.posts) == 1


def test_a_slack_that_is_down_is_asked_a_bounded_number_of_times(alerts: SlackAlerts, slack: Slack) -> None:
    slack.answers = [(503, "", {})]
    with pytest.raises(Transient):
        alerts.post(NOTICE)
    assert len(slack.posts) == 1 + RETRIES


def test_a_stumble_of_slack_goes_unnoticed(alerts: SlackAlerts, slack: Slack) -> None:
    slack.answers = [None, (200, "ok", {})]
    alerts.post(NOTICE)
    assert len(slack.posts) == 2


def test_a_full_rate_limit_hands_the_wait_back(alerts: SlackAlerts, slack: Slack) -> None:
    """Sleeping here would hold a worker for as long as Slack likes."""
    slack.answers = [(429, "rate_limited", {"Retry-After": "3600"})]
    with pytest.raises(Transient) as raised:
        alerts.post(NOTICE)
    assert raised.value.retry_after == 3600
    assert len(slack.posts) == 1


def test_nobody_at_the_address_is_transient_and_keeps_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    alerts = SlackAlerts("http://127.0.0.1:1/services/T0/B0/made-up")
    alerts._client.retry_handlers = []
    with pytest.raises(Transient) as raised:
        alerts.post(NOTICE)
    assert "made-up" not in str(raised.value)


def test_an_address_that_is_none_is_permanent() -> None:
    with pytest.raises(Permanent, match="SLACK_WEBHOOK_URL"):
        SlackAlerts("hooks.slack.com/services").post(NOTICE)
