"""A directory as a store. A write is on the disk, and whole, before it can be seen under its name."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Final

from workers.kernel.errors import MetermendError, Permanent, Transient
from workers.kernel.files import UNFINISHED, unfinished, written_whole
from workers.kernel.storage.store import StoredObject

_CHUNK: Final = 1024 * 1024


class DirectoryStore:
    """Keeps objects as files below `root`, which is made when first written to."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def url(self) -> str:
        return str(self._root)

    def location(self, key: str) -> str:
        return str(self._path(key))

    def local_path(self, key: str) -> Path | None:
        return self._path(key)

    def head(self, key: str) -> StoredObject | None:
        with disk_errors(self.location(key)):
            try:
                return _described(key, self._path(key).stat())
            except (FileNotFoundError, NotADirectoryError):
                return None

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        folder, _, _ = prefix.rpartition("/")
        with disk_errors(self.url):
            yield from _below(self._path(folder) if folder else self._root, f"{folder}/" if folder else "", prefix)

    def get_to_file(self, key: str, path: Path, max_bytes: int) -> int:
        found = self.head(key)
        if found is None:
            raise Permanent(f"{self.location(key)} does not exist")
        if found.size > max_bytes:
            raise Permanent(f"{self.location(key)} has {found.size} bytes; at most {max_bytes} are taken")
        with disk_errors(str(path)), written_whole(path) as temporary:
            shutil.copyfile(self._path(key), temporary)
        return found.size

    def chunks(self, key: str) -> Iterator[bytes]:
        with disk_errors(self.location(key)), self._path(key).open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def put_file(self, key: str, path: Path) -> None:
        with self._written(key, path) as temporary:
            temporary.replace(self._path(key))

    def put_if_absent(self, key: str, path: Path) -> bool:
        with self._written(key, path) as temporary:
            try:
                os.link(temporary, self._path(key))
            except FileExistsError:
                return False
        return True

    def delete(self, key: str) -> None:
        with disk_errors(self.location(key)):
            self._path(key).unlink(missing_ok=True)

    @contextmanager
    def _written(self, key: str, source: Path) -> Iterator[Path]:
        target = self._path(key)
        with disk_errors(str(target)), unfinished(target) as temporary:
            shutil.copyfile(source, temporary)
            _flush(temporary)
            yield temporary
            _flush(target.parent)

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or key.startswith("/") or ".." in parts:
            raise Permanent(f"{key!r} is no key of {self.url}")
        return self._root.joinpath(*parts)


def _below(directory: Path | str, place: str, prefix: str) -> Iterator[StoredObject]:
    """Yield what is below a directory whose keys begin with `place`, where they go on after `prefix`."""
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        key = place + entry.name
        if entry.is_dir():
            yield from _below(entry.path, f"{key}/", prefix)
        elif key.startswith(prefix) and not _is_unfinished(entry.name):
            with suppress(FileNotFoundError):
                yield _described(key, entry.stat())


def _is_unfinished(name: str) -> bool:
    return name.startswith(".") and name.endswith(UNFINISHED)


def _described(key: str, stat: os.stat_result) -> StoredObject:
    modified = datetime.fromtimestamp(stat.st_mtime, UTC)
    return StoredObject(key, stat.st_size, modified, f"{stat.st_size:x}-{stat.st_mtime_ns:x}-{stat.st_ino:x}")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors(where: str) -> Iterator[None]:
    """Raise what `disk_error` says in the place of the system's own error."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, where) from error


def disk_error(error: OSError, where: str) -> MetermendError:
    """Say in our own words why a file operation failed: a full or failing disk is Transient, the rest Permanent."""
    what = f"{where}: {error.strerror or error}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Transient(f"{what} - free some space; nothing was half written")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return Permanent(f"{what} - let the service's user read and write there")
    if error.errno in {errno.EIO, errno.ESTALE, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ETIMEDOUT}:
        return Transient(what)
    return Permanent(what)
