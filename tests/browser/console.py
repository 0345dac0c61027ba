"""The console on a port of this machine, and the addresses of its pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from urllib.parse import urlsplit

from flask import Flask
from playwright.sync_api import Page
from werkzeug.serving import make_server

from tests.browser.bad_day import PASSWORD
from tests.recording import RecordingJobQueue
from webhooks.app import create_app
from workers.kernel.clock import Clock
from workers.kernel.ledger import Ledger
from workers.kernel.settings import Settings


def an_app(ledger: Ledger, clock: Clock) -> Flask:
    """The web on a ledger, with a queue that takes all and does nothing."""
    settings = Settings(
        stripe_webhook_secrets="whsec_made_up",
        console_password_hash="pbkdf2:sha256:1$salt$0f",
        session_secret="made up",
        _env_file=None,
    )
    return create_app(settings, ledger=ledger, queue=RecordingJobQueue(), clock=clock)


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """Serve the app; yield its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def log_in(page: Page, address: str, name: str = "ada", password: str = PASSWORD) -> None:
    """Log in as somebody, as he does."""
    page.goto(f"{address}/console/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()


def pages(page: Page, app: Flask, address: str) -> Iterator[tuple[str, str]]:
    """Find a page of each kind by the links from the first one; yield the kind's name, which is its route, and where."""
    waiting, seen = [f"{address}/console/"], set()
    while waiting:
        there = waiting.pop(0)
        kind, _ = app.url_map.bind("").match(urlsplit(there).path, method="GET")
        if kind in seen:
            continue
        seen.add(kind)
        yield str(kind), there
        page.goto(there)
        links = page.eval_on_selector_all(
            "a[href]:not([download])", "links => links.map(each => each.href.split('#')[0])"
        )
        waiting += [link for link in links if link.startswith(f"{address}/console/")]
