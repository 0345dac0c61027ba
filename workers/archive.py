"""The archive: the immutable files behind every case, kept under names that hold their digest.

Owns where record sets and downloaded files are kept, and the proof that they are what they were. Imports
`workers.kernel` only. Start with `Archive`: `keep` a file, `fetch` it back, verified.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from workers.kernel.errors import Corrupt, Permanent
from workers.kernel.files import CASES, case_folder, kept_name, sha256_of, unfinished
from workers.kernel.ledger.journal import RecordSetRef
from workers.kernel.storage import Store
from workers.kernel.storage.cache import FileCache

CACHE_BYTES: Final = 8 * 1024**3
"""Bound of the local copies of a remote archive."""
SPARE_SECONDS: Final = 3600.0
"""A fetched file stays at least as long as a job may run, so that nobody's file is taken away while he reads it."""
MAX_BYTES: Final = 64 * 1024**3
"""No file of a case comes near this; beyond it, what the store says of itself is wrong."""


class Archive:
    """Keeps a case's files as `cases/{case_id}/{label}-{first 16 hex digits of sha256}{extension}`.

    A directory's files are read where they lie; those of a remote store are copied to `scratch_dir` once. Every
    method raises what the store raises; a full disk is Transient and leaves nothing half written.
    """

    def __init__(self, store: Store, scratch_dir: Path) -> None:
        self._store = store
        self._copies = FileCache(scratch_dir / "archive", CACHE_BYTES, SPARE_SECONDS)
        self._passing = scratch_dir / "archive-passing"

    def keep(self, case_id: str, label: str, path: Path) -> RecordSetRef:
        """Put a file into the archive and return its name and digest; the same bytes always get the same name.

        Raises Corrupt when the name is already taken by a file of another size.
        """
        sha256 = sha256_of(path)
        name = kept_name(case_id, label, path, sha256)
        kept = self._store.head(name)
        if kept is None:
            self._store.put_file(name, path)
        elif kept.size != path.stat().st_size:
            raise Corrupt(f"{self._store.location(name)} has {kept.size} bytes and is not what was kept there")
        return RecordSetRef(name, sha256)

    def put(self, name: str, path: Path) -> None:
        """Put a file under a name that holds its digest, for what is no case's yet."""
        self._store.put_file(name, path)

    def fetch(self, ref: RecordSetRef) -> Path:
        """Return a local path of a kept file, to be read only.

        A remote store's copy stays for `SPARE_SECONDS` at least. Raises Corrupt when the bytes are not those that
        were kept, and Permanent when they are gone.
        """
        path = self._store.local_path(ref.name)
        if path is None:
            return self._copied(ref)
        try:
            self._verify(ref, path)
        except FileNotFoundError:
            raise Permanent(f"{self._store.location(ref.name)} does not exist") from None
        return path

    def local_path(self, ref: RecordSetRef) -> Path | None:
        """Return where a file that was just kept lies on this machine; None where the store is elsewhere."""
        return self._store.local_path(ref.name)

    def fetch_named(self, name: str) -> Path:
        """Return a local path of a kept file of which only the name is known; that holds a part of its digest.

        Raises as `fetch` does.
        """
        return self.fetch(_ref(name))

    def ping(self) -> None:
        """Raise Transient or Permanent unless the store answers."""
        next(iter(self._store.list()), None)

    def location(self, ref: RecordSetRef) -> str:
        """Return the full address of a kept file, for a person to look."""
        return self._store.location(ref.name)

    def names(self, case_id: str) -> list[str]:
        """Return the names of a case's files, sorted."""
        return sorted(found.key for found in self._store.list(f"{case_folder(case_id)}/"))

    def copy_to(self, store: Store) -> tuple[int, list[str]]:
        """Copy what another store lacks of it; return how many files, and where those lie that are damaged.

        What is damaged is not copied. What is gone when its turn comes was removed by retention.
        """
        there = {found.key for found in store.list(CASES)}
        copied, damaged = 0, []
        for name in (found.key for found in self._store.list(CASES) if found.key not in there):
            try:
                with self._passing_file(name) as path:
                    store.put_file(name, path)
                copied += 1
            except Corrupt:
                damaged.append(self._store.location(name))
            except Permanent:
                if self._store.head(name):
                    raise
        return copied, damaged

    @contextmanager
    def _passing_file(self, name: str) -> Iterator[Path]:
        """Name a verified file, to be read in the block; a remote store's is gone from here after it."""
        if self._store.local_path(name):
            yield self.fetch_named(name)
            return
        with unfinished(self._passing) as path:
            self._store.get_to_file(name, path, MAX_BYTES)
            self._verify(_ref(name), path)
            yield path

    def delete(self, name: str) -> None:
        """Remove one file and its copy on this machine; one that is gone already is no error."""
        self._store.delete(name)
        self._copies.drop(name)

    def _copied(self, ref: RecordSetRef) -> Path:
        """Return the local copy; one that is damaged is made again."""
        copy = self._copies.find(ref.name)
        if copy is not None and sha256_of(copy).startswith(ref.sha256):
            return copy

        def fetch(path: Path) -> None:
            self._store.get_to_file(ref.name, path, MAX_BYTES)
            self._verify(ref, path)

        return self._copies.made(ref.name, fetch)

    def _verify(self, ref: RecordSetRef, path: Path) -> None:
        if not (found := sha256_of(path)).startswith(ref.sha256):
            raise Corrupt(
                f"{self._store.location(ref.name)} has the digest {found[:16]}…, but {ref.sha256[:16]}… was kept"
            )


def _ref(name: str) -> RecordSetRef:
    """Return what is known of a kept file by its name: that holds the beginning of its digest."""
    return RecordSetRef(name, name.rpartition("-")[2].partition(".")[0])
