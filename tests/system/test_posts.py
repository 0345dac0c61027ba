"""What anybody on the internet may post, over a real socket to gunicorn."""

import json
import socket
import time
from collections.abc import Iterator

import pytest
import requests

from tests.system.house import House

pytestmark = pytest.mark.xdist_group("house")

PING = json.dumps({"id": "evt_ping", "object": "v2.core.event", "type": "v2.core.event_destination.ping"}).encode()


def test_a_forged_post_is_refused(house: House) -> None:
    """Anybody could open cases, and have us fetch what he likes."""
    answer = house.post(PING, secret="whsec_of_somebody_else")
    assert (answer.status_code, answer.json()) == (400, {"error": "bad_signature"})


def test_a_post_replayed_after_its_time_is_refused(house: House) -> None:
    """A recorded post must not work for ever."""
    answer = house.post(PING, age=301)
    assert (answer.status_code, answer.json()) == (400, {"error": "too_old"})


def test_a_post_that_is_known_already_is_answered_and_does_nothing(house: House) -> None:
    """Stripe repeats itself; a second job would be a second case."""
    answers = [house.post(PING) for _ in range(2)]
    assert [(a.status_code, a.json()) for a in answers] == [(200, {"received": True})] * 2


def test_an_oversized_post_is_refused(house: House) -> None:
    """Memory is not for strangers to fill."""
    answer = house.post(b"x" * (1024 * 1024 + 1))
    assert (answer.status_code, answer.json()) == (413, {"error": "body_too_large"})


def test_an_oversized_post_without_a_length_is_refused(house: House) -> None:
    """A chunked body tells its size only at its end."""

    def body() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 65_536

    signature = {"Stripe-Signature": "t=1,v1=00"}
    try:
        answer = requests.post(f"{house.web}/webhooks", data=body(), headers=signature, timeout=10)
    except requests.ConnectionError:
        return  # the server hung up while we were still sending, which refuses it as well
    assert answer.status_code == 413


def test_a_signed_body_that_is_no_event_is_refused(house: House) -> None:
    """It cannot be stored under an id, and redelivery would not mend it."""
    for body in (b"", b"not json", b"[]", b'{"id": 7}'):
        answer = house.post(body)
        assert (answer.status_code, answer.json()) == (400, {"error": "malformed_body"})


def test_a_slow_sender_does_not_keep_others_out(house: House) -> None:
    """One connection that dribbles must not be an outage."""
    host, port = house.web.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
        started = time.monotonic()
        assert house.post(PING).status_code == 200
        assert time.monotonic() - started < 5


def test_no_answer_shows_a_traceback(house: House) -> None:
    """What is inside is nobody's business."""
    for path in ("/", "/webhooks", "/nowhere", "/console/cases/../../etc/passwd"):
        answer = requests.get(f"{house.web}{path}", timeout=10)
        assert "Traceback" not in answer.text
        assert answer.status_code < 500
