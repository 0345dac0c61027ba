"""The archive: the immutable files behind every case, named for what is in them.

Owns where record sets and downloaded files are kept, and the proof that they are what they were. Imports
`workers.kernel` only. Start with `archive.Archive`: `keep` a file, `fetch` it back, verified.
"""

from workers.archive.archive import Archive

__all__ = ["Archive"]
