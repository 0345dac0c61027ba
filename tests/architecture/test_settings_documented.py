"""Every setting stands in docs/SETTINGS.md as ``| `NAME` | default | meaning |``, with the default of the code."""

import re
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from workers.kernel.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "SETTINGS.md"
ROW = re.compile(r"^\| *`([A-Z][A-Z0-9_]+)` *\| *(.*?) *\| *(\S.*?) *\|$", re.MULTILINE)

SettingsTable = dict[str, str]


def documented() -> SettingsTable:
    return {name: default.strip("`") for name, default, _ in ROW.findall(PAGE.read_text("utf-8"))}


def written(default: Any) -> str:
    """How a default stands in the table: nothing where unset, whole seconds without a point."""
    if default is None or default == ():
        return ""
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_every_setting_is_on_its_page_with_its_default() -> None:
    table = documented()
    expected = {name.upper(): written(field.default) for name, field in Settings.model_fields.items()}
    assert {name: table.get(name, "missing") for name in expected} == expected


def test_the_page_names_no_setting_that_does_not_exist() -> None:
    assert set(documented()) <= {name.upper() for name in Settings.model_fields}


def test_every_setting_says_what_it_means() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
