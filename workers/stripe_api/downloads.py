"""Downloading a file's contents: streamed to disk, capped while reading, and complete or not there at all.

Stripe docs, "File upload guide": the contents lie at `/v1/files/ID/contents` on the files host, and the SDK has no
method for them. The address is built from our own setting and a redirect is not followed, so the key goes nowhere
else, whatever a file's `url` says.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import requests

from workers.kernel.errors import Permanent, Transient
from workers.kernel.files import written_whole
from workers.stripe_api.call import Calls
from workers.stripe_api.errors import first_line, judge

CHUNK: Final = 1 << 20
LONGEST_DOWNLOAD: Final = 1800.0
"""Seconds; a far side that drips bytes must not hold a worker for ever."""


def download(calls: Calls, base: str, file_id: str, account: str | None, into: Path, max_bytes: int) -> None:
    """Write the contents of a file to `into`; a cut download is begun anew, a bounded number of times."""
    path = f"/v1/files/{quote(file_id, safe='')}/contents"
    address = base.rstrip("/") + path
    with written_whole(into) as part:
        calls.persist(lambda: _once(calls, address, path, account, part, max_bytes), calls.paces.files)


def _once(calls: Calls, address: str, path: str, account: str | None, part: Path, max_bytes: int) -> None:
    # Without a transfer encoding, urllib3 holds what it reads against Content-Length, and raises if it is less.
    headers = {"Accept-Encoding": "identity"} | ({"Stripe-Account": account} if account else {})
    try:
        with calls.session.get(
            address, headers=headers, stream=True, timeout=calls.timeout, allow_redirects=False
        ) as response:
            if response.status_code != 200:
                raise judge(response.status_code, path, _error_of(response), response.headers)
            _write(_bounded(response, path, max_bytes), part)
    except requests.RequestException as error:
        raise Transient(f"{path}: the download broke off: {first_line(str(error))}") from error


def _bounded(response: requests.Response, path: str, max_bytes: int) -> Iterator[bytes]:
    read, deadline = 0, time.monotonic() + LONGEST_DOWNLOAD
    if int(response.headers.get("Content-Length") or 0) > max_bytes:
        raise _too_large(path, max_bytes)
    for piece in response.iter_content(CHUNK):
        read += len(piece)
        if read > max_bytes:
            raise _too_large(path, max_bytes)
        if time.monotonic() > deadline:
            raise Transient(f"{path}: the download took longer than {LONGEST_DOWNLOAD:.0f} s")
        yield piece


def _write(pieces: Iterator[bytes], part: Path) -> None:
    with part.open("wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())


def _too_large(path: str, max_bytes: int) -> Permanent:
    return Permanent(f"{path}: larger than {max_bytes} bytes - raise FAILED_RECORDS_MAX_BYTES to take it in")


def _error_of(response: requests.Response) -> Mapping[str, Any]:
    """Return Stripe's error object, read to 64 KiB at most."""
    body = next(response.iter_content(1 << 16), b"")
    try:
        found = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, Mapping) else {}
