"""Waiting until the loop has come to rest, with its progress shown meanwhile."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from workers.cli.demo.stage import Stage
from workers.cli.processes import Processes
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.events import ENDED, EventState
from workers.kernel.ledger.journal import Balance, Bucket

DRAIN_SECONDS: Final = 90.0
STILL_SECONDS: Final = 2.0
"""How long nothing may happen before the day counts as over: longer than a poll, a window and its lag."""
_LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True)
class DemoState:
    """The ledger at one moment."""

    events: Mapping[str, int]
    cases: Mapping[str, int]
    balance: Balance
    undelivered: int

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way here or on its way here."""
        working = self.events.get(EventState.RECEIVED, 0) + self.events.get(EventState.PROCESSING, 0)
        return bool(self.events) and not working and not self.balance.in_flight.records and not self.undelivered


def watch(
    console: Console, stage: Stage, ledger: Ledger, processes: Processes, seconds: float = DRAIN_SECONDS
) -> bool:
    """Show the progress until the loop has come to rest; return False when `seconds` were not enough.

    Raises InputUnusable when one of the processes ends.
    """
    deadline = time.monotonic() + seconds
    last, since = None, time.monotonic()
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        while time.monotonic() < deadline:
            look = _look(stage, ledger)
            live.update(_shown(look))
            if not look.at_rest or look != last:
                last, since = look, time.monotonic()
            elif time.monotonic() - since > STILL_SECONDS:
                return True
            if ended := processes.first_ended():
                raise dead(ended, processes)
            time.sleep(_LOOK_SECONDS)
    return False


def _look(stage: Stage, ledger: Ledger) -> DemoState:
    queries = ledger.queries
    twin = stage.twin_state()
    undelivered = twin["waiting_to_publish"] + sum(one["undelivered_events"] for one in twin["accounts"].values())
    return DemoState(queries.event_counts(), queries.case_counts(), queries.balance(), undelivered)


def _processed(counts: Mapping[str, int]) -> int:
    """Return how many events are through: an ignored one stays behind no other."""
    return sum(counts.get(state, 0) for state in ENDED)


def _shown(look: DemoState) -> Table:
    table = Table.grid(padding=(0, 2))
    counts = look.events
    table.add_row("events", f"{sum(counts.values())} received, {_processed(counts)} processed")
    table.add_row("cases", ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in sorted(look.cases.items())))
    table.add_row("records", f"{look.balance.failed.records} refused, {look.balance.in_flight.records} in flight")
    table.add_row("", f"[green]{look.balance[Bucket.CONFIRMED].records} recovered[/]")
    return table


def dead(ended: tuple[str, int], processes: Processes) -> InputUnusable:
    """Return what is said when a process of the demo dies: it stops then, and so do the others."""
    name, code = ended
    return InputUnusable(f"{name} ended with exit code {code}", mend=f"see {processes.log_dir}/{name}.log")
