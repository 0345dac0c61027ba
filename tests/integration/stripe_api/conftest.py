"""The twin in a thread, and the adapter that speaks to it."""

from collections.abc import Iterator

import pytest

from fixtures.twin import Twin
from workers.kernel.settings import Settings, load
from workers.stripe_api import LiveStripeApi


@pytest.fixture
def twin() -> Iterator[Twin]:
    with Twin() as running:
        yield running


@pytest.fixture
def settings(twin: Twin) -> Settings:
    return load({
        "stripe_api_key": "sk_test_made_up_key",
        "stripe_api_base": twin.url,
        "stripe_files_base": twin.url,
        "stripe_meter_events_base": twin.url,
        "stripe_timeout": 2.0,
    })  # fmt: skip


@pytest.fixture
def naps() -> list[float]:
    """The seconds that the adapter would have slept."""
    return []


@pytest.fixture
def live(settings: Settings, naps: list[float]) -> Iterator[LiveStripeApi]:
    api = LiveStripeApi(settings, sleep=naps.append)
    yield api
    api.close()
