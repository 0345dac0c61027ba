"""Azure over HTTP: Azurite, which npm has, with one container of the one account that it knows."""

import base64
import hmac
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import requests

from tests.by_npm import installed
from tests.servers import free_ports

CONTAINER = "usage-container"
ACCOUNT = "devstoreaccount1"
# Everybody knows this key: Azurite's documentation names it.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextmanager
def azurite(folder: Path) -> Iterator[str]:
    """Yield the service's URL; skips where there is no Azurite."""
    command, [port] = installed(".bin/azurite-blob"), free_ports(1)
    options = ["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence"]
    with subprocess.Popen(
        [command, *options, "--blobPort", str(port)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            create_container(f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def create_container(url: str) -> None:
    """Ask for the container until the service answers; signed as Azure's "Authorize with Shared Key" says."""
    date, version, path = formatdate(usegmt=True), "2021-12-02", f"/{ACCOUNT}/{CONTAINER}"
    text = f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}{path}\nrestype:container"
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), "sha256")).decode()
    headers = {"x-ms-date": date, "x-ms-version": version, "Authorization": f"SharedKey {ACCOUNT}:{signature}"}
    until = time.monotonic() + 30
    while True:
        try:
            answer = requests.put(f"{url}{path}", params={"restype": "container"}, headers=headers, timeout=10)
        except requests.ConnectionError:
            assert time.monotonic() < until, "Azurite did not start"
            time.sleep(0.1)
        else:
            answer.raise_for_status()
            return
