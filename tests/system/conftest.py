"""One running service for all tests that leave it running: it takes seconds to start."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.servers import RedisServer
from tests.system.house import House


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """The house's Redis; a test that stops it starts it again."""
    with TemporaryDirectory(prefix="mm-") as folder, RedisServer(Path(folder)) as server:
        yield server


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, redis: RedisServer) -> Iterator[House]:
    """The running service, with a meter, three customers and four eyes. Who kills a process starts it again."""
    with House(tmp_path_factory.mktemp("system") / "house", redis, APPROVALS="2") as running:
        running.control("meters", {"event_name": "api_requests"})
        running.control("customers", {"customers": ["cus_1", "cus_2", "cus_3"]})
        yield running
