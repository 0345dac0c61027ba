"""If these fail, a page sends its reader to a place that is not there, or keeps a command from him."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from workers.cli import main

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def text_of(page: Path) -> str:
    return FENCED.sub("", page.read_text("utf-8"))


def anchors_of(page: Path) -> set[str]:
    """How GitHub names the headings of a page: lower case, marks gone, blanks become hyphens."""
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\]\(.*?\)", "", title).lower()).replace(" ", "-") for title in titles}


def dead_links() -> Iterator[str]:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
            path, _, anchor = link.partition("#")
            there = page.parent / path if path else page
            if ":" in path:
                continue
            if not there.exists() or (anchor and anchor not in anchors_of(there)):
                yield f"{page.relative_to(ROOT)}: {link}"


def commands() -> Iterator[str]:
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        parts = command.list_commands(context) if isinstance(command, click.Group) else []
        yield name
        yield from (f"{name} {part}" for part in parts)


def test_every_link_and_anchor_leads_somewhere() -> None:
    assert list(dead_links()) == []


def test_the_page_of_commands_names_every_command() -> None:
    rows = re.findall(r"^\| (`.+?) \|", (ROOT / "docs" / "COMMANDS.md").read_text("utf-8"), re.MULTILINE)
    told = {name.removeprefix("metermend ") for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert [name for name in commands() if not any(re.match(rf"{name}\b", one) for one in told)] == []
