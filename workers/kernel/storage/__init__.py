"""Files kept under keys: in a directory, in memory, or in S3, Google Cloud Storage or Azure, by one interface.

Start with `store.Store` (what every place can do) and `opening.open_store` (a URL -> a place). `directory` needs
the standard library only; `remote` stands on obstore, is imported late and translates its errors. `cache` bounds
the local copies of what lies far away.
"""

from workers.kernel.storage.opening import open_store
from workers.kernel.storage.store import Store, StoredObject

__all__ = ["Store", "StoredObject", "open_store"]
