"""What is asked how it is, in the background: whoever asks for the answer never waits on what may hang."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from workers.kernel.errors import MetermendError
from workers.kernel.logs import get_logger

log = get_logger(__name__)

FRESH_SECONDS: Final = 2.0
"""How long an answer is good before it is asked for again."""
WAIT_SECONDS: Final = 0.25
"""How long a new question is waited for, once; while it hangs, the answer before it stands."""
LATE_SECONDS: Final = 15.0
"""What has not answered for so long fails."""


@dataclass(frozen=True)
class Findings:
    """What is known: the names of what fails, and how many seconds ago each was found as it is (None: never)."""

    failing: list[str]
    ages: Mapping[str, float | None]


class Checks:
    """Named checks; each raises MetermendError, with the reason, while what it looks at does not work."""

    def __init__(self, checks: Mapping[str, Callable[[], None]]) -> None:
        self._checks = {name: _Check(name, ask) for name, ask in checks.items()}

    def look(self, *names: str) -> Findings:
        """Return what is known, asking anew what was found too long ago: all of it, or what is named."""
        asked = [self._checks[name] for name in names or self._checks if self._checks[name].ask_if_stale()]
        waits_until = time.monotonic() + WAIT_SECONDS
        for check in asked:
            check.answered.wait(max(waits_until - time.monotonic(), 0))
        ages = {name: check.age for name, check in self._checks.items()}
        return Findings([name for name, check in self._checks.items() if check.fails], ages)


class _Check:
    def __init__(self, name: str, ask: Callable[[], None]) -> None:
        self._name = name
        self._ask = ask
        self._asking = threading.Lock()
        self._failing = True
        self._found_at = -inf
        self.answered = threading.Event()

    @property
    def age(self) -> float | None:
        return None if self._found_at == -inf else round(time.monotonic() - self._found_at, 3)

    @property
    def fails(self) -> bool:
        return self._failing or time.monotonic() - self._found_at > LATE_SECONDS

    def ask_if_stale(self) -> bool:
        """Start asking, unless that is under way or the answer is fresh; tell whether it was started."""
        if time.monotonic() - self._found_at <= FRESH_SECONDS or not self._asking.acquire(blocking=False):
            return False
        self.answered.clear()
        try:
            threading.Thread(target=self._find_out, daemon=True).start()
        except RuntimeError:  # no thread can be had
            self._asking.release()
        return True

    def _find_out(self) -> None:
        failing = True
        try:
            self._ask()
            failing = False
        except MetermendError as error:
            log.warning("not_ready", failing=self._name, error=str(error))
        finally:
            self._failing = failing
            self._found_at = time.monotonic()
            self.answered.set()
            self._asking.release()
