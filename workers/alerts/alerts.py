"""Who delivers an alert: the seam, and the printed one."""

from collections.abc import Iterator
from typing import Final, Protocol

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from workers.alerts import phrases
from workers.alerts.messages import Alert, Digest, Notice
from workers.kernel import terminal


class Alerts(Protocol):
    """Tells a person."""

    @property
    def channel(self) -> str:
        """Name the channel without a secret: what it takes in an hour is counted by this name."""

    def post(self, alert: Alert, earlier: str | None = None) -> str | None:
        """Deliver it, in place of an `earlier` message where that can be; return its name where it can be changed.

        Raises Transient when the channel is away, Permanent when it will never take it.
        """


class PrintedAlerts:
    """Prints to standard output, where no Slack is set up."""

    channel: Final = "printed"

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or terminal.console()

    def post(self, alert: Alert, earlier: str | None = None) -> None:
        del earlier  # what is printed stays
        body = Text.assemble((phrases.cut(alert.headline), "bold"), "\n", "\n".join(_lines(alert)))
        self._console.print(Panel(body, title=Text(phrases.origin(alert)), title_align="left"))


def _lines(alert: Alert) -> Iterator[str]:
    if isinstance(alert, Notice):
        yield from _notice_lines(alert)
    elif isinstance(alert, Digest):
        yield from map(phrases.cut, alert.lines)
    else:
        yield phrases.detail(alert)
        yield from phrases.about(alert)
    if alert.next_step:
        step = alert.next_step
        yield f"Next: {' - '.join(phrases.cut(part) for part in (step.sentence, step.command, step.link) if part)}"


def _notice_lines(notice: Notice) -> Iterator[str]:
    if phrases.totals(notice):
        yield phrases.totals(notice)
    yield from (f"  {code}: {counts}" for code, counts in phrases.codes(notice))
    yield from phrases.about(notice)
    if phrases.urgency(notice):
        yield phrases.urgency(notice)
    waiting = [f"  {reason}" for reason in phrases.reasons(notice)]
    yield from ["Waiting for you:", *waiting] if waiting else []
    yield from (f"{label}: {place}" for label, place in phrases.files(notice))
