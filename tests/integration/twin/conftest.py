"""The twin in a thread with one meter and one customer, the SDK that asks it, and an endpoint that it posts to."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import stripe

from fixtures.twin import Twin

KEY = "sk_test_made_up_key"
SECRET = "whsec_made_up"


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    folder = tmp_path / "bucket"
    folder.mkdir()
    return folder


@pytest.fixture
def twin(bucket: Path) -> Iterator[Twin]:
    with Twin(bucket=bucket.as_uri(), retry_seconds=0.01) as running:
        running.add_meter("calls")
        running.add_customers(["cus_a"])
        yield running


@pytest.fixture
def http() -> Iterator[requests.Session]:
    """A caller with the API key."""
    with requests.Session() as session:
        session.trust_env = False
        session.auth = (KEY, "")
        yield session


@pytest.fixture
def client(twin: Twin) -> Iterator[stripe.StripeClient]:
    with requests.Session() as session:
        session.trust_env = False
        yield sdk(twin, session)


def sdk(twin: Twin, session: requests.Session, key: str = KEY) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        base_addresses={"api": twin.url, "files": twin.url, "meter_events": twin.url},
        max_network_retries=0,
        http_client=stripe.RequestsClient(session=session),
    )


@dataclass
class Endpoint:
    """Keeps what it is sent and answers with the next of `answers`, then 200."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def take(self, headers: Any, body: bytes) -> int:
        self.received.append((dict(headers), body))
        return self.answers.pop(0) if self.answers else 200


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    kept = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status = kept.take(self.headers, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_port}/webhooks"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield kept
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def endpoint_of_both(twin: Twin, endpoint: Endpoint) -> Endpoint:
    for kind in ("snapshot", "thin"):
        twin.add_destination(kind, endpoint.url, SECRET)
    return endpoint
