"""Who delivers an alert: the seam, and the printed one."""

from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from workers.alerts import phrases
from workers.alerts.messages import Notice, Trouble
from workers.kernel import terminal


class Alerts(Protocol):
    """Tells a person."""

    def post(self, notice: Notice | Trouble) -> None:
        """Deliver it. Raises Transient when the channel is away, Permanent when it will never take it."""


class PrintedAlerts:
    """Prints to standard output, where no Slack is set up."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or terminal.console()

    def post(self, notice: Notice | Trouble) -> None:
        body = Text.assemble((phrases.cut(notice.headline), "bold"), "\n", "\n".join(_lines(notice)))
        self._console.print(Panel(body, title=Text(phrases.origin(notice)), title_align="left"))


def _lines(alert: Notice | Trouble) -> Iterator[str]:
    if isinstance(alert, Notice):
        yield from _notice_lines(alert)
    else:
        yield phrases.cut(alert.detail, phrases.LONGEST_DETAIL)
    if alert.next_step:
        step = alert.next_step
        yield f"Next: {' - '.join(phrases.cut(part) for part in (step.sentence, step.command, step.link) if part)}"


def _notice_lines(notice: Notice) -> Iterator[str]:
    if len(notice.codes) > 1:
        yield phrases.totals(notice)
    yield from (f"  {code}: {counts}" for code, counts in phrases.codes(notice))
    if phrases.urgency(notice):
        yield phrases.urgency(notice)
    waiting = [f"  {reason}" for reason in phrases.reasons(notice)]
    yield from ["Waiting for you:", *waiting] if waiting else []
    yield from (f"{label}: {place}" for label, place in phrases.files(notice))
