"""A real S3 over HTTP for whoever asks for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.storage.moto_s3 import BUCKET, moto_s3


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """One server for a worker's whole run: modules that ask for it are of the xdist_group `s3`."""
    with moto_s3() as endpoint:
        yield endpoint


@pytest.fixture
def s3(s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty place in the bucket; what reaches it stands in the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "made-up")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
    return f"s3://{BUCKET}/{tmp_path.name}"
