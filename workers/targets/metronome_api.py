"""Metronome's API, as far as usage is sent and looked for: each call has a timeout and a bounded number of tries.

Sources: Metronome docs, "Ingest events" and "Search events"; which answers are tried again, metronome-python.
"""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import requests

from workers.kernel.errors import Permanent, Transient
from workers.kernel.logs import get_logger

BATCH: Final = 100
"""Events of one call; Metronome takes no more."""
ATTEMPTS: Final = 4
"""Tries of one call; after them the job as a whole is tried again later."""
FIRST_BACKOFF: Final = 0.5
"""Seconds before the second try, doubled for each further one."""
LONGEST_WAIT: Final = 30.0
"""Seconds; where Metronome asks for more, the worker does something else meanwhile."""
TIMEOUT: Final = (5.0, 20.0)
"""Seconds to connect, and to wait for each piece of the answer."""
INGEST: Final = "/v1/ingest"
SEARCH: Final = "/v1/events/search"
_AGAIN: Final = frozenset({408, 409, 429})
_log = get_logger(__name__)


@dataclass(frozen=True)
class IngestAnswer:
    """Metronome's answer to events: `error` has the message of a 400, and is None when all were taken.

    `asked_before` tells that an earlier try of the same call went unanswered, so they may have been taken then.
    """

    error: Mapping[str, Any] | None
    asked_before: bool = False


class _TurnedAway(Transient):
    """A 429: the call was not read."""


class MetronomeApi:
    """Metronome at `base`. Raises Transient where it may answer later, Permanent where a person has to look."""

    def __init__(self, base: str, token: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._base = base.rstrip("/")
        self._token = token
        self._sleep = sleep
        self._session = requests.Session()
        self._session.auth = self._bearer  # else an entry of .netrc would take its place

    def ingest(self, events: Sequence[Mapping[str, Any]]) -> IngestAnswer:
        """Send up to 100 events. A transaction id that came in the last 34 days is taken, and does not count."""
        response, unanswered = self._persist(INGEST, events)
        return IngestAnswer({"message": _message(response)} if response.status_code == 400 else None, unanswered)

    def search(self, transaction_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return every event of the last 34 days that came with one of up to 100 ids, duplicates as well."""
        response, _ = self._persist(SEARCH, {"transactionIds": list(transaction_ids)})
        found = _parsed(response)
        if response.status_code != 200 or not isinstance(found, list):
            raise Permanent(f"{SEARCH}: Metronome answered {response.status_code}, {_message(response)}")
        return [one for one in found if isinstance(one, dict)]

    def close(self) -> None:
        self._session.close()

    def _persist(self, path: str, body: Any) -> tuple[requests.Response, bool]:
        """Return the answer, and whether an earlier try may have been heard without one."""
        unanswered = False
        for attempt in range(1, ATTEMPTS):
            try:
                return self._once(path, body), unanswered
            except Transient as trouble:
                unanswered = unanswered or not isinstance(trouble, _TurnedAway)
                if (trouble.retry_after or 0) > LONGEST_WAIT:
                    raise
                _log.info("metronome_call_repeated", attempt=attempt, why=str(trouble))
                backoff = FIRST_BACKOFF * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.0)
                self._sleep(trouble.retry_after or backoff)
        return self._once(path, body), unanswered

    def _once(self, path: str, body: Any) -> requests.Response:
        try:
            response = self._session.post(self._base + path, json=body, timeout=TIMEOUT, allow_redirects=False)
        except requests.RequestException as error:
            raise Transient(f"Metronome could not be reached for {path}: {type(error).__name__}") from error
        status, said = response.status_code, f"{path}: Metronome answered {response.status_code}"
        if status in _AGAIN or status >= 500:
            kind = _TurnedAway if status == 429 else Transient
            raise kind(said, retry_after=_retry_after(response))
        if status in {401, 403}:
            raise Permanent(f"{said} - set METRONOME_TOKEN to an API token of this environment")
        is_foreign = status == 200 and response.content.strip() and _parsed(response) is None
        if is_foreign or status not in {200, 400}:
            raise Permanent(f"{said}, {_message(response)} - check METRONOME_BASE")
        return response

    def _bearer(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _retry_after(response: requests.Response) -> float | None:
    named = response.headers.get("Retry-After", "")
    return float(named) if named.isascii() and named.isdigit() else None


def _parsed(response: requests.Response) -> Any:
    try:
        return json.loads(response.content, parse_float=Decimal)
    except ValueError:
        return None


def _message(response: requests.Response) -> str:
    """Return what Metronome says of a refusal, its first line cut to 300 characters."""
    found = _parsed(response)
    message = found.get("message") if isinstance(found, dict) else None
    return str(message or response.text).strip().split("\n", 1)[0][:300]
