"""A house for each test, with a meter and two customers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import RedisServer
from tests.system.house import House


@pytest.fixture
def redis(short_folder: str) -> Iterator[RedisServer]:
    """A Redis that a test may stop."""
    with RedisServer(Path(short_folder)) as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, redis: RedisServer) -> Iterator[House]:
    """The running service, before anything went wrong."""
    with House(tmp_path / "house", redis) as running:
        running.control("meters", {"event_name": "api_requests"})
        running.control("customers", {"customers": ["cus_1", "cus_2"]})
        yield running
