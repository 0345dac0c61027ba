"""The web app in the test's process, on a real ledger, with a recording queue."""

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.security import generate_password_hash

from tests.conftest import FrozenClock
from tests.recording import RecordingJobQueue
from webhooks.app import create_app
from workers.kernel.jobqueue import JobQueue
from workers.kernel.ledger import Ledger
from workers.kernel.settings import Settings

SECRETS = ("whsec_made_up_thin", "whsec_made_up_snapshot")
PASSWORD = "correct horse"
PASSWORD_HASH = generate_password_hash(PASSWORD, method="pbkdf2:sha256:1")
EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "data_management.import_set.failed",
    "livemode": False,
    "created": 1_795_253_400,
    "data": {"object": {"id": "impset_1", "result": {"rows_processed": 3}}},
}


def some_settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "stripe_webhook_secrets": ",".join(SECRETS),
        "stripe_api_key": "sk_test_made_up",
        "console_password_hash": PASSWORD_HASH,
        "session_secret": "made up",
        "_env_file": None,
    }
    return Settings(**(values | changes))


def signed(body: bytes, clock: FrozenClock, secret: str = SECRETS[0], age: int = 0) -> dict[str, str]:
    at = int(clock.now.timestamp()) - age
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={at},v1={digest}", "Content-Type": "application/json"}


def an_event(**changes: Any) -> bytes:
    return json.dumps(EVENT | changes).encode()


@pytest.fixture
def queue() -> RecordingJobQueue:
    return RecordingJobQueue()


MakeClient = Callable[..., FlaskClient]


@pytest.fixture
def make_client(sqlite_ledger: Ledger, queue: RecordingJobQueue, clock: FrozenClock) -> MakeClient:
    """Build a client; named parts replace the usual ones."""

    def make(*, ledger: Ledger | None = None, jobs: JobQueue | None = None, **settings: Any) -> FlaskClient:
        app = create_app(
            some_settings(**settings), ledger=ledger or sqlite_ledger, queue=jobs or queue, clock=clock
        )
        return app.test_client()

    return make


@pytest.fixture
def client(make_client: MakeClient) -> FlaskClient:
    return make_client()
