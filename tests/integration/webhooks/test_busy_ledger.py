"""If these fail, one transaction of somebody else's stops the whole web, with its health check."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import requests
import sqlalchemy as sa

from tests.integration.webhooks.conftest import an_event, signed
from tests.integration.webhooks.test_gunicorn import Web, now, running
from tests.integration.webhooks.test_slow_clients import slowest_of
from workers.kernel.ledger import connect


@pytest.fixture
def web(tmp_path: Path, database_url: str, migrated_sqlite: Path, redis_url: str) -> Iterator[Web]:
    """One process, whose greenlets have nobody else to ask."""
    with running(tmp_path, migrated_sqlite, redis_url, database_url=database_url, workers=1) as web:
        yield web


@contextmanager
def held(database_url: str) -> Iterator[Callable[[], int]]:
    """Keep events from being written, and give a count of the web's connections."""
    if database_url.startswith("sqlite"):
        other = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        yield lambda: 0
        other.close()
        return
    engine = sa.create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"))
    count = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with engine.connect() as holder, engine.connect() as watcher:
        holder.execute(sa.text("LOCK TABLE events IN EXCLUSIVE MODE"))
        yield lambda: int(watcher.execute(count).scalar_one())
    engine.dispose()


def post(web: Web, number: int) -> int:
    body = an_event(id=f"evt_{number}")
    return requests.post(f"{web.url}/webhooks", data=body, headers=signed(body, now()), timeout=60).status_code


def test_posts_that_wait_for_the_ledger_hold_nothing_else_up(web: Web) -> None:
    """40 at once: more than the pool has connections. They wait in turn, and are stored when they can be."""
    with ThreadPoolExecutor(40) as pool:
        with held(web.database_url) as waiting:
            posts = pool.map(partial(post, web), range(40))
            assert slowest_of(web, 10) < 2
            assert waiting() <= 15
        assert list(posts) == [200] * 40
    ledger = connect(web.database_url)
    assert all(ledger.events.get(f"evt_{number}") for number in range(40))
    ledger.close()


def test_posts_that_wait_in_vain_are_sent_back_and_leave_nothing_behind(web: Web) -> None:
    with ThreadPoolExecutor(40) as pool, held(web.database_url):
        posts = pool.map(partial(post, web), range(40))
        assert slowest_of(web, 10) < 2
        assert set(posts) == {503}
    assert post(web, 0) == 200
