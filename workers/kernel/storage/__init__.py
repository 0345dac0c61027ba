"""Files kept under keys: in a directory, in memory, or in S3, Google Cloud Storage or Azure, by one interface.

It imports the kernel's errors, settings and files. Start with `store.Store` (what every place can do) and
`open_store` (a URL -> a place). `remote` stands on obstore, is imported late and translates its errors; `cache`
bounds the local copies of what lies far away.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from workers.kernel.errors import SettingsUnusable
from workers.kernel.storage.directory import DirectoryStore
from workers.kernel.storage.store import Store, StoredObject

__all__ = ["Store", "StoredObject", "open_store"]


REMOTE_SCHEMES = frozenset({"s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "memory"})


def open_store(url: str) -> Store:
    """Open a directory (a plain path or `file://`), `s3://`, `gs://`, `az://` or `memory://`.

    Nothing is contacted and nothing created yet. Credentials come from the environment, named as each cloud's own
    tools name them, or from the machine's role; profiles in `~/.aws` are not read. `AWS_ENDPOINT_URL` leads to an
    S3 of another maker, and may be plain HTTP. Raises SettingsUnusable.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return DirectoryStore(_directory(url, url))
    if scheme == "file":
        return DirectoryStore(_directory(unquote(urlsplit(url).path) if rest.startswith("/") else "", url))
    if scheme in REMOTE_SCHEMES:
        from workers.kernel.storage.remote import RemoteStore

        return RemoteStore(url)
    raise SettingsUnusable(
        f"{scheme}:// is no place that files can be kept in",
        where=url,
        mend="use a directory, file:///…, s3://…, gs://… or az://…",
    )


def _directory(path: str, url: str) -> Path:
    if not path.strip():
        raise SettingsUnusable("names no directory", where=url or "(empty)", mend="write file:///absolute/path")
    return Path(path).expanduser().absolute()
