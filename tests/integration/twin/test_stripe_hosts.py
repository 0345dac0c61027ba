"""If these fail, a shell set up for the demo speaks with strangers, or a sender's log lacks what he has sent."""

import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from fixtures.stripe_hosts.authority import speak_as_stripe
from fixtures.stripe_hosts.proxy import Proxy
from fixtures.stripe_hosts.usage_log import log_usage
from fixtures.twin import Twin
from tests.integration.twin.conftest import KEY


@pytest.fixture
def proxied(twin: Twin, tmp_path: Path) -> Iterator[requests.Session]:
    """A caller whose environment is the demo's."""
    authority = tmp_path / "authority" / "ca.pem"
    authority.parent.mkdir()
    with Proxy(0, twin.url, speak_as_stripe(authority)) as proxy, requests.Session() as session:
        serving = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        session.trust_env = False
        address = f"http://127.0.0.1:{proxy.server_port}"
        session.proxies = {"https": address, "http": address}
        session.verify = str(authority)
        session.auth = (KEY, "")
        yield session
        session.close()
        proxy.shutdown()
        serving.join()


def test_stripes_names_lead_to_the_twin(twin: Twin, proxied: requests.Session) -> None:
    for host in ("api.stripe.com", "meter-events.stripe.com"):
        answer = proxied.get(f"https://{host}/v1/billing/meters", timeout=5)
        assert [meter["event_name"] for meter in answer.json()["data"]] == ["calls"]
    assert proxied.get("https://api.stripe.com/v1/nothing", timeout=5).status_code == 404


@pytest.mark.parametrize("host", ["example.com", "notstripe.com", "stripe.com.example.com"])
def test_no_other_host_is_answered_for(proxied: requests.Session, host: str) -> None:
    """A key or a file meant for another must not end with the twin, nor look as if it had arrived."""
    with pytest.raises(requests.exceptions.ProxyError, match="403"):
        proxied.get(f"https://{host}/", timeout=5)
    assert proxied.get(f"http://{host}/", timeout=5).status_code == 403


def test_the_authority_leaves_no_key_behind(proxied: requests.Session) -> None:
    """With it, whoever reads the demo's folder could speak as Stripe to a shell that trusts the demo."""
    authority = Path(str(proxied.verify))
    assert [file.name for file in authority.parent.iterdir()] == ["ca.pem"]
    assert "PRIVATE KEY" not in authority.read_text()
    proxied.verify = ssl.get_default_verify_paths().cafile or True
    with pytest.raises(requests.exceptions.SSLError):
        proxied.get("https://api.stripe.com/v1/billing/meters", timeout=5)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/billing/meter_events", "event_name=calls&identifier=a&timestamp=1795176000&payload[value]=7"),
        (
            "/v2/billing/meter_events",
            '{"event_name":"calls","identifier":"a","timestamp":"2026-11-20T12:00:00Z","payload":{"value":"7"}}',
        ),
    ],
)
def test_usage_is_logged_in_the_shape_of_stripes_template(tmp_path: Path, path: str, body: str) -> None:
    log_usage(tmp_path, path, body.encode())
    log_usage(tmp_path, "/v1/customers", b"name=Anna")
    log_usage(tmp_path, "/v2/billing/meter_event_stream", b"no JSON, which Stripe answers with 400")
    [file] = tmp_path.iterdir()
    expected = {"event_name": "calls", "identifier": "a", "timestamp": 1795176000, "payload": {"value": "7"}}
    assert json.loads(file.read_text()) == expected
