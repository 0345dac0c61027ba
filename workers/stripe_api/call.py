"""Calls to Stripe: at its pace, tried a bounded number of times, errors translated; lists to their last page."""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import requests
import stripe
from requests.adapters import HTTPAdapter

from workers.kernel.errors import Permanent, SettingsUnusable, Transient
from workers.kernel.logs import get_logger
from workers.kernel.settings import Settings
from workers.stripe_api.errors import RateLimited, Replayed, date_of, translate
from workers.stripe_api.pace import Limits, Pace
from workers.stripe_api.protocol import Json

CONCURRENCY: Final = 8
"""Calls that are under way at once, and connections that are kept."""
ATTEMPTS: Final = 4
"""Tries of one call; after them the job as a whole is tried again later."""
FIRST_BACKOFF: Final = 0.5
"""Seconds before the second try, doubled for each further one."""
LONGEST_WAIT: Final = 30.0
"""Seconds; where Stripe asks for more, the worker does something else meanwhile."""
CONNECT_TIMEOUT: Final = 5.0

Sleep = Callable[[float], None]
Answer = TypeVar("Answer")
_log = get_logger(__name__)


class Paces:
    """The pace of each kind of call; the kinds have their own limits at Stripe."""

    def __init__(self, limits: Limits) -> None:
        self.basic, self.meter_events = Pace(limits.basic), Pace(limits.meter_events)
        self.files, self.search = Pace(limits.files), Pace(limits.search)
        self.stream = Pace(limits.stream)


class Calls:
    """Calls over one pool of connections, each with a timeout; the key is never sent after a redirect."""

    def __init__(self, settings: Settings, limits: Limits, sleep: Sleep = time.sleep) -> None:
        self.timeout = (min(CONNECT_TIMEOUT, settings.stripe_timeout), settings.stripe_timeout)
        self.paces = Paces(limits)
        self.session = _Session(api_key(settings))
        self._sleep = sleep
        self.told_time: datetime | None = None
        """Stripe's own time, by the `Date` of its latest answer."""
        # The SDK does not try again on a plain 429, so all trying again is done here and none of it there.
        self._client = stripe.StripeClient(
            api_key(settings),
            base_addresses={
                "api": settings.stripe_api_base.rstrip("/"),
                "files": settings.stripe_files_base.rstrip("/"),
                "meter_events": settings.stripe_meter_events_base.rstrip("/"),
            },
            max_network_retries=0,
            http_client=stripe.RequestsClient(timeout=self.timeout, session=self.session),
        )

    def get(self, path: str, params: Mapping[str, Any], account: str | None, pace: Pace | None = None) -> Json:
        """Return what Stripe has at `path`; numbers with a fraction are Decimal."""
        return self.persist(lambda: self.once("get", path, params, account), pace or self.paces.basic)

    def once(
        self,
        method: Literal["get", "post"],
        path: str,
        params: Mapping[str, Any],
        account: str | None,
        idempotency_key: str | None = None,
    ) -> Json:
        options: Json = {"idempotency_key": idempotency_key} if idempotency_key else {}
        if account:
            options["stripe_context" if path.startswith("/v2/") else "stripe_account"] = account
        return _object(self._ask(method, path, params, options), path)

    def once_by_token(self, path: str, params: Mapping[str, Any], token: str) -> None:
        """Post to the meter event stream, whose token stands for key and account and whose answer is empty."""
        self._ask("post", path, params, {"api_key": token, "base": "meter_events"})

    def _ask(self, method: Literal["get", "post"], path: str, params: Mapping[str, Any], options: Json) -> Any:
        try:
            response = self._client.raw_request(method, path, **params, **options)
        except stripe.StripeError as error:
            self._note_time(error.headers)
            raise translate(error, path) from error
        self._note_time(response.headers)
        return json.loads(response.body, parse_float=Decimal)

    def _note_time(self, headers: Mapping[str, str] | None) -> None:
        self.told_time = date_of(headers or {}) or self.told_time

    def persist(self, ask: Callable[[], Answer], pace: Pace) -> Answer:
        """Return what `ask` returns; a Transient is tried again, at most `ATTEMPTS` times in all."""
        for attempt in range(1, ATTEMPTS):
            pace.wait()
            try:
                return ask()
            except Transient as trouble:
                self._sleep(self._wait_after(trouble, attempt, pace))
        pace.wait()
        return ask()

    def _wait_after(self, trouble: Transient, attempt: int, pace: Pace) -> float:
        if isinstance(trouble, RateLimited) and trouble.reason != "resource-specific":
            pace.slow_down()
        if (trouble.retry_after or 0) > LONGEST_WAIT:
            raise trouble
        _log.info("stripe_call_repeated", attempt=attempt, why=str(trouble))
        backoff = FIRST_BACKOFF * 2.0 ** (attempt - 1)
        return trouble.retry_after or backoff * random.uniform(0.5, 1.0)

    def close(self) -> None:
        self.session.close()


@dataclass
class Post:
    """One POST through all its tries, to be handed to `Calls.persist`.

    Stripe answers a repeated key with what it answered first, a failure too, and for a day (Stripe docs,
    "Idempotent requests"). So once it repeats one, the key is changed for one that no job has used before; what
    is posted has to be safe against that by an identifier of its own. `unanswered` tells that a try may have been
    heard without an answer.
    """

    calls: Calls
    path: str
    params: Mapping[str, Any]
    account: str | None
    key: str
    unanswered: bool = False
    _anew: str = field(default="", init=False)

    def __call__(self) -> Json:
        try:
            return self.calls.once("post", self.path, self.params, self.account, self.key + self._anew)
        except RateLimited:
            raise
        except Transient as trouble:
            self.unanswered = True
            if isinstance(trouble, Replayed):
                self._anew = f"-{uuid4().hex}"
            raise


def _object(answer: Any, path: str) -> Json:
    """Return an answer that is an object, and a list's with its items; anything else is not Stripe's."""
    if isinstance(answer, dict) and ("object" in answer or isinstance(answer.get("data"), list)):
        return answer
    raise Permanent(f"{path}: the answer is not Stripe's - check STRIPE_API_BASE")


def api_key(settings: Settings) -> str:
    """Return the API key as text. Raises SettingsUnusable when there is none."""
    if settings.stripe_api_key is None:
        raise SettingsUnusable(
            "no API key", where="STRIPE_API_KEY", mend="create a restricted key as README.md shows"
        )
    return settings.stripe_api_key.get_secret_value()


class _Session(requests.Session):
    """Sends the key to the address it was asked for: no redirect is followed, no .netrc entry replaces the key.

    A call that brings a token of its own keeps it.
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key
        self.auth = self._bearer
        for scheme in ("https://", "http://"):
            self.mount(scheme, HTTPAdapter(pool_maxsize=CONCURRENCY))

    def get_redirect_target(self, resp: requests.Response) -> None:
        del resp

    def _bearer(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.setdefault("Authorization", f"Bearer {self._key}")
        return request


PAGE: Final = 100
"""Objects on a page; Stripe gives no more."""


def v1_pages(calls: Calls, path: str, params: Json, account: str | None) -> Iterator[Json]:
    """Yield every object of a v1 list (Stripe docs, "Pagination")."""
    page = calls.get(path, params, account)
    while True:
        yield from page["data"]
        if not page.get("has_more") or not page["data"]:
            return
        page = calls.get(path, {**params, "starting_after": page["data"][-1]["id"]}, account)


def v2_pages(calls: Calls, path: str, params: Json, account: str | None) -> Iterator[Json]:
    """Yield every object of a v2 list; `next_page_url` is followed on our own base address only."""
    page = calls.get(path, params, account)
    while True:
        yield from page["data"]
        address = urlsplit(page.get("next_page_url") or "")
        if not address.path:
            return
        if address.path != path:
            raise Permanent(f"{path}: Stripe's next page is at {address.path}, which is another list")
        page = calls.get(path, dict(parse_qsl(address.query)), account)
