"""Slack: an alert as Block Kit within Slack's limits, posted by an incoming webhook.

Sources: Slack docs, "Reference: blocks" and "Sending messages using incoming webhooks".
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import quote

from slack_sdk.http_retry.builtin_handlers import ConnectionErrorRetryHandler, ServerErrorRetryHandler
from slack_sdk.webhook import WebhookClient, WebhookResponse

from workers.alerts import phrases
from workers.alerts.messages import NextStep, Notice, Trouble
from workers.kernel.errors import MetermendError, Permanent, Transient

MAX_BLOCKS: Final = 50
MAX_TEXT: Final = 3000
MAX_HEADER: Final = 150

Block = dict[str, Any]


@dataclass(frozen=True)
class Message:
    """What is posted: `text` is what a notification on a phone shows."""

    text: str
    blocks: list[Block]


def message(alert: Notice | Trouble) -> Message:
    """Return the message of an alert."""
    blocks = [_header(alert.headline), *_context([_foreign(phrases.origin(alert))])]
    if isinstance(alert, Notice):
        files = [f"{_foreign(label)}: {_code(place)}" for label, place in phrases.files(alert)]
        blocks += [*_notice(alert), *_step(alert.next_step), *_context(files)]
    else:
        blocks += _section([_foreign(phrases.cut(alert.detail, phrases.LONGEST_DETAIL))])
        blocks += _step(alert.next_step)
    return Message(_foreign(phrases.cut(alert.headline)), blocks[:MAX_BLOCKS])


def escape(text: str) -> str:
    """Return text that Slack shows as it is; a `<!channel>` in a customer's data calls nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _foreign(text: str) -> str:
    """Return somebody else's text: a backtick in it would open or end what is ours in fixed width."""
    return escape(text).replace("`", "'")


def _notice(notice: Notice) -> Iterator[Block]:
    yield from _section([f"*{_foreign(phrases.totals(notice))}*"] if len(notice.codes) > 1 else [])
    yield from _section(f"• {_code(code)} {_foreign(counts)}" for code, counts in phrases.codes(notice))
    yield from _section([f":hourglass: {phrases.urgency(notice)}"] if phrases.urgency(notice) else [])
    waiting = [f"• {_foreign(reason)}" for reason in phrases.reasons(notice)]
    yield from _section(["*Waiting for you*", *waiting] if waiting else [])


def _step(step: NextStep | None) -> Iterator[Block]:
    if step is None:
        return
    lines = [f"*Next:* {escape(phrases.cut(step.sentence))}"]
    if step.command:
        lines.append(_code(phrases.cut(step.command)))
    if step.link:
        lines.append(f"<{quote(step.link, safe=':/?#=&%@+,;~')}|Open in the console>")
    yield from _section(lines)


def _header(text: str) -> Block:
    headline = phrases.cut(text, MAX_HEADER) or "metermend"
    return {"type": "header", "text": {"type": "plain_text", "text": headline, "emoji": False}}


def _context(lines: Iterable[str]) -> Iterator[Block]:
    elements = [_text(line) for line in lines if line]
    if elements:
        yield {"type": "context", "elements": elements}


def _section(lines: Iterable[str]) -> Iterator[Block]:
    """Yield the lines as sections, each as full as Slack allows."""
    text = ""
    for line in lines:
        if text and len(text) + 1 + len(line) > MAX_TEXT:
            yield {"type": "section", "text": _text(text)}
            text = ""
        text = f"{text}\n{line}" if text else line
    if text:
        yield {"type": "section", "text": _text(text)}


def _text(text: str) -> Block:
    """Return a text object. `verbatim`: a bare address becomes no link, and a bare `@channel` calls nobody."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _code(text: str) -> str:
    """Return text in Slack's fixed-width form."""
    return f"`{_foreign(text)}`"


TIMEOUT: Final = 10
"""Seconds that one post may take."""
RETRIES: Final = 1
"""Tries after the first one. The SDK's handler for 429 is left out, for it sleeps as long as Slack says."""


class SlackAlerts:
    """Posts to the channel that the webhook's address stands for; the address is a secret and never shown."""

    def __init__(self, webhook_url: str) -> None:
        self._client = WebhookClient(
            webhook_url,
            timeout=TIMEOUT,
            retry_handlers=[
                ConnectionErrorRetryHandler(max_retry_count=RETRIES),
                ServerErrorRetryHandler(max_retry_count=RETRIES),
            ],
        )

    def post(self, notice: Notice | Trouble) -> None:
        made = message(notice)
        try:
            response = self._client.send(text=made.text, blocks=made.blocks)
        except (OSError, HTTPException) as error:
            raise Transient(f"Slack could not be reached: {type(error).__name__}") from error
        except ValueError as error:
            raise Permanent("SLACK_WEBHOOK_URL is no web address - copy it from the Slack app's page") from error
        if response.status_code != 200:
            raise _refusal(response)


def _refusal(response: WebhookResponse) -> MetermendError:
    answer = f"Slack answered {response.status_code} {response.body.strip()[:80]}"
    if response.status_code == 429 or response.status_code >= 500:
        named = next((value for name, value in response.headers.items() if name.lower() == "retry-after"), "")
        return Transient(answer, retry_after=float(named) if str(named).isdecimal() else None)
    return Permanent(f"{answer} - check SLACK_WEBHOOK_URL: the webhook or its channel may be gone")
