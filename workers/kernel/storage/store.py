"""What every place that keeps files under keys can do."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a store. `key` is relative to the store; `etag` changes whenever the content does."""

    key: str
    size: int
    last_modified: datetime
    etag: str

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rstrip("/").rpartition("/")[2]


class Store(Protocol):
    """A folder of objects. Keys use `/`; no write is ever seen half done.

    Every method raises Transient when the place may answer later (also when a disk is full), Permanent when it will
    not, and SettingsUnusable when its address or its credentials are at fault.
    """

    @property
    def url(self) -> str:
        """The store's address, fit to be shown."""

    def location(self, key: str) -> str:
        """Return the full address of a key, fit to be shown."""

    def local_path(self, key: str) -> Path | None:
        """Return where the object lies on this machine's disk; None when it lies elsewhere."""

    def head(self, key: str) -> StoredObject | None:
        """Return what is known of one object; None when there is none."""

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects at every depth whose keys go on after `prefix`, in no promised order."""

    def get_to_file(self, key: str, path: Path, max_bytes: int) -> int:
        """Copy an object to `path` and return its size in bytes; `path` is whole or absent, never half written.

        Raises Permanent when there is no such object or when it has more than `max_bytes`.
        """

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield an object's bytes, some megabytes at a time; raises where it is not there, or ends too soon."""

    def put_file(self, key: str, path: Path) -> None:
        """Store a file under `key`, in the place of what was there."""

    def put_if_absent(self, key: str, path: Path) -> bool:
        """Store a file under `key` unless the key is taken; tell whether it was stored.

        After a broken connection False may also mean that our own earlier try arrived. The content passes through
        memory where the store lies far away.
        """

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
