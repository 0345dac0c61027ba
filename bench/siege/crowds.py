"""What the web still does for Stripe while a crowd of connections holds it and says nothing, or little."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Final

import requests

from bench.siege.shots import http, shots
from bench.siege.web import Web

POSTS: Final = 10
PATIENCE: Final = 10.0
"""Seconds that a post waits; Stripe waits about as long and delivers again later."""
DRIP_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Served:
    """How a crowd left the web: how many of `POSTS` were answered, their median seconds, its memory in MiB."""

    answered: int
    seconds: float | None
    memory: float


def served(web: Web, kind: str, number: int) -> Served:
    """Post events while `number` connections are "idle" or "dripping"."""
    with crowd(web, number, drips=kind == "dripping"):
        times = [taken for shot in _posts() if (taken := _posted(web, *shot)) is not None]
        return Served(len(times), median(times) if times else None, web.memory())


def _posts() -> Iterator[tuple[bytes, dict[str, str]]]:
    sound = (shot for shot in shots(int(time.time()), 1000) if shot.kind == "sound events")
    for _ in range(POSTS):
        head, _, body = next(sound).raw.partition(b"\r\n\r\n")
        signature = next(line for line in head.decode().splitlines() if line.startswith("Stripe-Signature"))
        yield body, {"Stripe-Signature": signature.partition(": ")[2]}


def _posted(web: Web, body: bytes, headers: dict[str, str]) -> float | None:
    started = time.monotonic()
    try:
        answer = requests.post(f"http://127.0.0.1:{web.port}/webhooks", body, headers=headers, timeout=PATIENCE)
    except requests.RequestException:
        return None
    return time.monotonic() - started if answer.status_code == 200 else None


@contextmanager
def crowd(web: Web, number: int, *, drips: bool) -> Iterator[None]:
    """Hold so many connections open; a dripping one sends a byte of a body every two seconds."""
    held = [_opened(web, index) for index in range(number)]
    over = threading.Event()

    def drip() -> None:
        unsent = http("POST", "/webhooks", b"x" * 60_000)[:-59_000]
        for connection in held:
            _send(connection, unsent)
        while not over.wait(DRIP_SECONDS):
            for connection in held:
                _send(connection, b"x")

    dripper = threading.Thread(target=drip) if drips else None
    if dripper:
        dripper.start()
    time.sleep(1)
    try:
        yield
    finally:
        over.set()
        if dripper:
            dripper.join()
        for connection in held:
            connection.close()


def _opened(web: Web, index: int) -> socket.socket:
    """Open one; twenty come from one address, as many as a proxy lets one have."""
    address = index // 20
    connection = socket.socket()
    connection.bind((f"127.1.{address // 250}.{address % 250 + 1}", 0))
    connection.setblocking(False)
    connection.connect_ex(("127.0.0.1", web.port))
    return connection


def _send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.send(data)
    except OSError:
        return
