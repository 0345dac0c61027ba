"""One version of one of the sender's files."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import PurePath
from typing import Final

from workers.kernel.storage import Store, StoredObject

LOOK_BACK: Final = timedelta(days=36)
"""Usage older than 35 days cannot be billed any more (Stripe docs, "Record usage with the API"); a day to spare."""

_USAGE_SUFFIXES: Final = frozenset({"", ".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson"})
_COMPRESSED_SUFFIXES: Final = frozenset({".gz", ".zst"})


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One version of one of the sender's files."""

    store: Store
    stored: StoredObject

    @property
    def location(self) -> str:
        """Its full address."""
        return self.store.location(self.stored.key)

    @property
    def version(self) -> str:
        """24 hex digits for this content at this place; another content has others."""
        text = f"{self.location}\n{self.stored.etag}\n{self.stored.size}\n{self.stored.last_modified}"
        return sha256(text.encode()).hexdigest()[:24]

    @property
    def may_be_usage(self) -> bool:
        """Whether its name is one that usage files have."""
        path = PurePath(self.stored.name)
        suffix = PurePath(path.stem).suffix if path.suffix.lower() in _COMPRESSED_SUFFIXES else path.suffix
        return suffix.lower() in _USAGE_SUFFIXES


def oldest_first(files: Iterable[SourceFile]) -> list[SourceFile]:
    """Return the files in the order in which they were last written."""
    return sorted(files, key=lambda file: (file.stored.last_modified, file.location))
