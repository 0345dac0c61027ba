"""Slack: an alert as Block Kit within Slack's limits, posted by an incoming webhook.

A button opens its address in the browser: what is decided there is decided by whoever is logged in.
Sources: Slack docs, "Reference: blocks", "Button element" and "Sending messages using incoming webhooks".
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import quote

from slack_sdk.http_retry import RetryHandler
from slack_sdk.http_retry.builtin_handlers import ConnectionErrorRetryHandler, ServerErrorRetryHandler
from slack_sdk.webhook import WebhookClient, WebhookResponse

from workers.alerts import phrases
from workers.alerts.messages import Alert, Digest, NextStep, Notice
from workers.kernel.errors import MetermendError, Permanent, Transient

MAX_BLOCKS: Final = 50
MAX_TEXT: Final = 3000
MAX_HEADER: Final = 150
MAX_LABEL: Final = 75
MAX_ADDRESS: Final = 3000
MAX_BUTTONS: Final = 25

Block = dict[str, Any]


@dataclass(frozen=True)
class Message:
    """What is posted: `text` is what a notification on a phone shows."""

    text: str
    blocks: list[Block]


def message(alert: Alert) -> Message:
    """Return the message of an alert, whole."""
    if isinstance(alert, Notice):
        return _message(alert, *_totals(alert), *_codes(alert), *_to_do(alert), *_files(alert))
    if isinstance(alert, Digest):
        lines = list(map(phrases.cut, alert.lines))
    else:
        lines = [phrases.detail(alert), *phrases.about(alert)]
    return _message(alert, *_section(map(_foreign, lines)), *_step(alert.next_step))


def summary(notice: Notice) -> Message:
    """Return the message of a notice without what goes into its thread."""
    return _message(notice, *(list(_totals(notice)) or _codes(notice)), *_to_do(notice))


def details(notice: Notice) -> Message:
    """Return what goes into the thread of a notice."""
    return _message(notice, *_codes(notice), *_files(notice))


def _message(alert: Alert, *body: Block) -> Message:
    blocks = [_header(alert.headline), *_context([_foreign(phrases.origin(alert))]), *body]
    return Message(_foreign(phrases.cut(alert.headline)), blocks[:MAX_BLOCKS])


def escape(text: str) -> str:
    """Return text that Slack shows as it is; a `<!channel>` in a customer's data calls nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _foreign(text: str) -> str:
    """Return somebody else's text: a backtick in it would open or end what is ours in fixed width."""
    return escape(text).replace("`", "'")


def _totals(notice: Notice) -> Iterator[Block]:
    totals = phrases.totals(notice)
    yield from _section([f"*{_foreign(totals)}*"] if totals else [])


def _codes(notice: Notice) -> Iterator[Block]:
    yield from _section(f"• {_code(code)} {_foreign(counts)}" for code, counts in phrases.codes(notice))


def _to_do(notice: Notice) -> Iterator[Block]:
    yield from _section(map(_foreign, phrases.about(notice)))
    yield from _section([f":hourglass: {_foreign(phrases.urgency(notice))}"] if phrases.urgency(notice) else [])
    waiting = [f"• {_foreign(reason)}" for reason in phrases.reasons(notice)]
    yield from _section(["*Waiting for you*", *waiting] if waiting else [])
    yield from _step(notice.next_step)


def _files(notice: Notice) -> Iterator[Block]:
    yield from _context(f"{_foreign(label)}: {_code(place)}" for label, place in phrases.files(notice))


def _step(step: NextStep | None) -> Iterator[Block]:
    if step is None:
        return
    lines = [f"*Next:* {escape(phrases.cut(step.sentence))}"]
    if step.command:
        lines.append(_code(phrases.cut(step.command)))
    yield from _section(lines)
    links = {**({"Open in the console": step.link} if step.link else {}), **step.forms}
    buttons = [_button(label, address) for label, address in links.items()]
    buttons = [button for button in buttons if len(button["url"]) <= MAX_ADDRESS]
    if buttons:
        yield {"type": "actions", "elements": buttons[:MAX_BUTTONS]}


def _button(label: str, address: str) -> Block:
    text = {"type": "plain_text", "text": phrases.cut(label, MAX_LABEL), "emoji": False}
    return {"type": "button", "text": text, "url": quote(address, safe=":/?#=&%@+,;~")}


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


_EMPTY: Final = frozenset({"no_text", "invalid_payload", "missing_text_or_fallback_or_attachments"})
"""What Slack says of a message without anything in it; of an address that is none it says so first."""


class SlackAlerts:
    """Posts to the channel that the webhook's address stands for; the address is a secret and never shown."""

    def __init__(self, webhook_url: str) -> None:
        self.channel = channel_name(webhook_url)
        self._client = WebhookClient(webhook_url, timeout=TIMEOUT, retry_handlers=retry_handlers())

    def post(self, alert: Alert, earlier: str | None = None) -> None:
        del earlier  # an incoming webhook cannot change what it has posted
        made = message(alert)
        response = self._send({"text": made.text, "blocks": made.blocks})
        if response.status_code != 200:
            raise _refusal(response)

    def ask(self) -> None:
        """Post nothing, which Slack refuses as empty where it would take a message.

        Raises Transient and Permanent, as `post` does.
        """
        response = self._send({"text": ""})
        if response.body.strip() not in _EMPTY:
            raise _refusal(response)

    def _send(self, body: dict[str, Any]) -> WebhookResponse:
        try:
            return self._client.send_dict(body)
        except (OSError, HTTPException) as error:
            raise unreached(error) from error
        except ValueError as error:
            raise Permanent("SLACK_WEBHOOK_URL is no web address - copy it from the Slack app's page") from error


def channel_name(*secrets: str) -> str:
    """Return the name of a channel by what leads to it, which is a secret."""
    return sha256("\n".join(secrets).encode()).hexdigest()


def retry_handlers() -> list[RetryHandler]:
    """Return what tries again at once, where Slack stumbles."""
    return [
        ConnectionErrorRetryHandler(max_retry_count=RETRIES),
        ServerErrorRetryHandler(max_retry_count=RETRIES),
    ]


def retry_after(headers: Mapping[str, Any]) -> float | None:
    """Return how many seconds Slack asks to wait, if it does."""
    named = str(next((value for name, value in headers.items() if name.lower() == "retry-after"), ""))
    return float(named) if named.isdecimal() else None


def unreached(error: Exception) -> Transient:
    """Return what is told where nothing answered, with the system's own words for it."""
    why = getattr(error, "reason", error)  # what urllib wraps
    said = getattr(why, "strerror", None) or type(why).__name__
    return Transient(
        f"Slack could not be reached ({said}) - see the network, and SLACK_WEBHOOK_URL or SLACK_BOT_TOKEN"
    )


def is_away(status: int) -> bool:
    """Whether an answer of this status means that Slack may take the message later."""
    return status == 429 or status >= 500


def _refusal(response: WebhookResponse) -> MetermendError:
    answer = f"Slack answered {response.status_code} {response.body.strip()[:80]}"
    if is_away(response.status_code):
        return Transient(answer, retry_after=retry_after(response.headers))
    return Permanent(f"{answer} - check SLACK_WEBHOOK_URL: the webhook or its channel may be gone")
