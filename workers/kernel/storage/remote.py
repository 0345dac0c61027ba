"""S3, Google Cloud Storage, Azure and memory as stores, by obstore. The one place that knows obstore's errors.

A process that has talked to one of these must not fork: obstore's threads do not survive it and the child hangs.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import obstore
from obstore import exceptions
from obstore.store import from_url

from workers.kernel.errors import MetermendError, Permanent, SettingsUnusable, Transient
from workers.kernel.files import written_whole
from workers.kernel.storage.directory import disk_error
from workers.kernel.storage.store import StoredObject

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

REQUEST_TIMEOUT: Final = timedelta(minutes=30)
"""Bound of one request, body included: the longest download of a large object."""
STALL_TIMEOUT: Final = timedelta(minutes=2)
"""Without a byte from the far side for so long, a request has failed. An upload of one object must fit in it."""
_CHUNK: Final = 4 * 1024 * 1024

_RETRIES: "RetryConfig" = {
    "max_retries": 4,
    "retry_timeout": timedelta(minutes=1),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=5), "base": 2},
}
_METADATA_SERVICE: Final = "169.254.169.254"
"""Where obstore asks for credentials when it was given none."""
_CREDENTIALS: Final = {
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
}
"""What a cloud's credentials are usually called, by how its addresses begin."""
_MISSING: Final = ("NoSuchBucket", "ContainerNotFound")
"""How S3 and Google, and Azure, say that there is no such bucket."""
_BUSY_STATUSES: Final = frozenset({408, 409, 425, 429})


class RemoteStore:
    """Keeps objects in a bucket or container, below the URL's path. Retries are obstore's, four within a minute."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        try:
            self._store: Any = from_url(url, **_options(url))
        except (exceptions.BaseError, ValueError) as error:
            raise SettingsUnusable(_first_line(error), where=url, mend="check the address") from None

    @property
    def url(self) -> str:
        return self._url

    def location(self, key: str) -> str:
        return f"{self._url}/{key}"

    def local_path(self, key: str) -> Path | None:
        del key
        return None

    def head(self, key: str) -> StoredObject | None:
        with self._translated(key):
            try:
                return _described(obstore.head(self._store, key))
            except FileNotFoundError as error:
                _raise_if_bucket_is_missing(error)
                return None

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield as every store does; keys come in their order, so the listing ends where they leave `prefix`."""
        folder, _, start = prefix.rpartition("/")
        with self._translated(folder):
            for page in obstore.list(
                self._store, folder or None, offset=prefix if start else None, chunk_size=1000
            ):
                found = [_described(meta) for meta in page if meta["path"].startswith(prefix)]
                yield from found
                if len(found) < len(page):
                    return

    def get_to_file(self, key: str, path: Path, max_bytes: int) -> int:
        with written_whole(path) as temporary, self._translated(key):
            answer = obstore.get(self._store, key)
            size: int = answer.meta["size"]
            if size > max_bytes:
                raise Permanent(f"{self.location(key)} has {size} bytes; at most {max_bytes} are taken")
            with temporary.open("wb") as file:
                return sum(map(file.write, self._whole(key, answer)))

    def chunks(self, key: str) -> Iterator[bytes]:
        with self._translated(key):
            yield from self._whole(key, obstore.get(self._store, key))

    def _whole(self, key: str, answer: Any) -> Iterator[bytes]:
        """Yield an answer's bytes. Raises Transient when they end before the announced size."""
        read, size = 0, answer.meta["size"]
        for chunk in answer.stream(_CHUNK):
            read += len(chunk)
            yield bytes(chunk)
        if read != size:
            raise Transient(f"{self.location(key)}: {read} of {size} bytes arrived")

    def put_file(self, key: str, path: Path) -> None:
        with self._translated(key):
            obstore.put(self._store, key, path)

    def put_if_absent(self, key: str, path: Path) -> bool:
        with self._translated(key):
            try:
                obstore.put(self._store, key, path, mode="create")
            except exceptions.AlreadyExistsError:
                return False
        return True

    def delete(self, key: str) -> None:
        with self._translated(key):
            try:
                obstore.delete(self._store, key)
            except FileNotFoundError as error:
                _raise_if_bucket_is_missing(error)

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        where = self.location(key) if key else self._url
        try:
            yield
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise translate(error, where) from error


def translate(error: Exception, where: str) -> MetermendError:
    """Say in our own words why a store did not do what it was asked, and whether it may later."""
    if at_fault := _settings_at_fault(error, where):
        what, mend = at_fault
        return SettingsUnusable(what, where=where, mend=mend)
    if isinstance(error, FileNotFoundError):
        return Permanent(f"{where} does not exist")
    if isinstance(error, OSError):
        return disk_error(error, where)
    if isinstance(error, exceptions.GenericError | exceptions.JoinError):
        return _by_status(str(error), where)
    return Permanent(f"{where}: {_first_line(error)}")


def _settings_at_fault(error: Exception, where: str) -> tuple[str, str] | None:
    """Return what is wrong with the settings and how to mend it; None when they are not to blame."""
    text = str(error)
    if isinstance(error, exceptions.UnauthenticatedError | exceptions.PermissionDeniedError):
        return "the credentials do not allow this", "check the keys and their policy"
    if _METADATA_SERVICE in text:
        return "no credentials were found", f"set e.g. {_CREDENTIALS.get(where[:2], _CREDENTIALS['az'])}"
    if "builder error" in text:
        return "the endpoint is unusable", "check AWS_ENDPOINT_URL"
    if any(word in text for word in _MISSING):
        return "there is no such bucket", "check the address"
    return None


def _by_status(text: str, where: str) -> MetermendError:
    found = re.search(r"status code: (\d{3})", text)
    if found is None:
        return Transient(f"{where}: cannot be reached")
    status = int(found[1])
    code = re.search(r"<Code>(\w+)</Code>", text)
    sentence = f"{where}: answered {status} {code[1] if code else ''}".rstrip()
    return Transient(sentence) if status >= 500 or status in _BUSY_STATUSES else Permanent(sentence)


def _raise_if_bucket_is_missing(error: FileNotFoundError) -> None:
    if any(word in str(error) for word in _MISSING):
        raise error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]


def _described(meta: Any) -> StoredObject:
    etag = meta["e_tag"] or f"{meta['size']:x}-{meta['last_modified'].timestamp()}"
    etag = f'"{etag.strip(chr(34))}"'  # Azure quotes it in an answer's head and not in its listings
    return StoredObject(meta["path"], meta["size"], meta["last_modified"], etag)


def _options(url: str) -> dict[str, Any]:
    if url.startswith("memory:"):
        return {}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=5),
        "read_timeout": STALL_TIMEOUT,
        "timeout": REQUEST_TIMEOUT,
        "allow_http": endpoint.startswith("http://"),
    }
    options: dict[str, Any] = {"client_options": client, "retry_config": _RETRIES}
    if url.startswith("s3") and endpoint:
        options["config"] = {"endpoint": endpoint}
    return options
