"""If this fails, a company that deploys metermend takes on a licence that nobody has looked at."""

import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

LOCK = Path(__file__).parents[2] / ".ci" / "requirements.lock"
FREE = re.compile(
    r"\b(MIT(-0|-CMU)?|BSD|Apache|PSF|Python Software Foundation|ISC|Zlib|0BSD|CC0|Unlicense|ZPL-2.1)\b",
    re.IGNORECASE,
)
WEAK = {
    "certifi": "Mozilla",  # a list of certificates, used as it is
    "psycopg": "LGPL-3.0-only",  # a library of its own that is imported
    "psycopg-binary": "LGPL-3.0-only",
}
"""Licences that ask for a little more, looked at package by package."""


def test_every_package_that_is_deployed_has_a_licence_that_asks_for_nothing() -> None:
    odd = {name: licence for name in pinned() if (licence := licence_of(name)) and not FREE.search(licence)}
    assert {name: licence for name, licence in odd.items() if WEAK.get(name, "?") not in licence} == {}


def pinned() -> list[str]:
    return re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE)


def licence_of(name: str) -> str:
    """Return what a package says of its licence; nothing where it is not installed, being another platform's."""
    try:
        said = metadata(name)
    except PackageNotFoundError:
        return ""
    classifiers = [one for one in said.get_all("Classifier") or [] if one.startswith("License ::")]
    plain = [said[name] for name in ("License-Expression", "License") if name in said]
    return "; ".join([*(one[:80] for one in plain), *classifiers]) or "?"
