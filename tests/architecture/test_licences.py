"""If this fails, a company that deploys metermend takes on a licence that nobody has looked at."""

import pytest

from tests.architecture.licences import Licensed, deployed


def test_every_package_that_is_deployed_has_a_licence_that_asks_for_nothing() -> None:
    odd = [
        f"{package.name} {package.version} has the licence {package.licence!r}, which is not allowed: look at it, "
        "then write it into ALLOWED or LOOKED_AT of tests/architecture/licences.py, or do without the package"
        for package in deployed()
        if not package.allowed
    ]
    assert odd == []


@pytest.mark.parametrize(
    "licence",
    ["unknown", "GPL-3.0-only", "MIT AND GPL-3.0-only", "LGPL-3.0-only"],
)
def test_a_licence_that_asks_for_more_is_not_allowed(licence: str) -> None:
    """A part under MIT does not free the rest."""
    assert not Licensed("some-package", "1.0", licence).allowed


@pytest.mark.parametrize("licence", ["MIT", "GPL-2.0-only OR MIT", "BSD-3-Clause AND (MIT OR Apache-2.0)"])
def test_a_choice_that_asks_for_nothing_is_allowed(licence: str) -> None:
    assert Licensed("some-package", "1.0", licence).allowed
