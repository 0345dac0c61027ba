"""What a deployment installs, and under which licence: `make licences` prints it, and the gate fails on others."""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Final, NamedTuple

LOCK: Final = Path(__file__).parents[2] / ".ci" / "requirements.lock"
ALLOWED: Final = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "PSF-2.0", "Unlicense",
    "ZPL-2.1", "Zlib", "Apache Software License", "BSD License", "ISC License (ISCL)", "MIT License",
    "Python Software Foundation License", "The Unlicense (Unlicense)", "Zope Public License",
}  # fmt: skip
"""They ask for no more than that their text is kept: by SPDX's names and by those of the classifiers."""
LOOKED_AT: Final = {
    "certifi": "Mozilla Public License 2.0 (MPL 2.0)",  # a list of certificates, used as it is
    "psycopg": "LGPL-3.0-only",  # a library of its own that is imported
    "psycopg-binary": "LGPL-3.0-only",
}
"""Licences that ask for a little more, of packages that were looked at one by one."""


class Licensed(NamedTuple):
    """A package of a deployment, and the licence by what its own metadata say: `unknown` where they say nothing."""

    name: str
    version: str
    licence: str

    @property
    def allowed(self) -> bool:
        """Whether every part of the licence leaves a choice that is allowed."""
        if LOOKED_AT.get(self.name) == self.licence:
            return True
        parts = self.licence.split(" AND ")
        return all(any(choice.strip("()") in ALLOWED for choice in part.split(" OR ")) for part in parts)


def pinned(lock: Path = LOCK) -> dict[str, str]:
    """Return the versions that a lock pins, by package."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.MULTILINE))


def deployed() -> Iterator[Licensed]:
    """Yield what a deployment installs on a machine like this; what others install is not here to be read."""
    for name, version in pinned().items():
        try:
            yield Licensed(name, version, _licence(name))
        except PackageNotFoundError:
            continue


def _licence(name: str) -> str:
    said = metadata(name)
    if "License-Expression" in said:
        return said["License-Expression"]
    classifiers = [one for one in said.get_all("Classifier") or [] if one.startswith("License ::")]
    if classifiers:
        return " AND ".join(one.rpartition(" :: ")[2] for one in classifiers)
    return said["License"].strip().partition("\n")[0][:80] if "License" in said else "unknown"


if __name__ == "__main__":
    for package in sorted(deployed()):
        sys.stdout.write(f"{package.name:<20} {package.version:<14} {package.licence}\n")
