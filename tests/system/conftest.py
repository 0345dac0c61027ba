"""A house for each test, with a meter and two customers."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

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


@pytest.fixture(scope="module")
def open_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One running service for all tests that only knock at its door."""
    home = tmp_path_factory.mktemp("open") / "house"
    with (
        TemporaryDirectory(prefix="mm-") as folder,
        RedisServer(Path(folder)) as server,
        House(home, server) as running,
    ):
        yield running
