"""The console on a port of this machine, and the addresses of its pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from playwright.sync_api import Page
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.browser.bad_day import HOSTILE_CASE
from tests.recording import RecordingJobQueue
from webhooks.app import create_app
from workers.kernel.clock import Clock
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.acts import ActState
from workers.kernel.settings import Settings


def an_app(ledger: Ledger, clock: Clock) -> Flask:
    """The web on a ledger, with a queue that takes all and does nothing."""
    made_up: dict[str, Any] = {
        "stripe_webhook_secrets": "whsec_made_up",
        "stripe_api_key": "sk_test_made_up",
        "console_password_hash": "pbkdf2:sha256:1$salt$0f",
        "session_secret": "made up",
        "submit_to": "dashboard,acct_1=dashboard,acct_2=dashboard",
        "_env_file": None,
    }
    return create_app(Settings(**made_up), ledger=ledger, queue=RecordingJobQueue(), clock=clock)


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of a request that was answered."""


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """Serve the app; yield its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def pages(page: Page, app: Flask, address: str) -> Iterator[tuple[str, str]]:
    """Follow the links from the first page; open one page of each kind, and yield its route, and where it is."""
    waiting, seen = [f"{address}/console/"], set()
    while waiting:
        there = waiting.pop(0)
        kind, _ = app.url_map.bind("").match(urlsplit(there).path, method="GET")
        if kind in seen:
            continue
        seen.add(kind)
        page.goto(there)
        links = page.eval_on_selector_all(
            "a[href]:not([download])", "links => links.map(each => each.href.split('#')[0])"
        )
        waiting += [link for link in links if link.startswith(f"{address}/console/")]
        yield str(kind), there


def usual_and_unlucky(page: Page, app: Flask, address: str, ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Open a page of each kind, and the unlucky ones after a bad day; yield what it is, and where."""
    yield from pages(page, app, address)
    unlucky = {"a hostile case": f"{address}/console/cases/{HOSTILE_CASE}", "nowhere": f"{address}/console/nowhere"}
    looked_at = (ActState.ASKED, ActState.DONE)
    acts = {
        f"an act that is {act.state}": f"{address}/console/acts/{act.id}"
        for act in ledger.acts.all(states=looked_at)
    }
    for what, where in {**unlucky, **acts}.items():
        page.goto(where)
        yield what, where
