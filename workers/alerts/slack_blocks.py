"""An alert as Slack shows it: Block Kit within Slack's limits (Slack docs, "Reference: blocks")."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from workers.alerts import phrases
from workers.alerts.messages import NextStep, Notice, Trouble

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
    blocks = [
        _header(alert.headline),
        *_context([_foreign(phrases.origin(alert))]),
        *(_notice(alert) if isinstance(alert, Notice) else _trouble(alert)),
        *_step(alert.next_step),
        *(_files(alert) if isinstance(alert, Notice) else ()),
    ]
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


def _files(notice: Notice) -> Iterator[Block]:
    return _context(f"{_foreign(label)}: {_code(place)}" for label, place in phrases.files(notice))


def _trouble(trouble: Trouble) -> Iterator[Block]:
    return _section([_foreign(phrases.cut(trouble.detail, phrases.LONGEST_DETAIL))])


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
