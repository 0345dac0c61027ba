"""docs/PROTOCOL.md is what an auditor reads: what the code does and it does not say is a promise nobody made."""

import re
from collections.abc import Iterator
from pathlib import Path

from bench.faults.crash_points import CRASH_POINTS
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.journal import ROUTES, EntryKind
from workers.kernel.reasons import UNCERTAIN

PAGE = (Path(__file__).parents[2] / "docs" / "PROTOCOL.md").read_text("utf-8")
ARROW = re.compile(r"^ {4}(\S+) --> (\S+): (.+)$", re.MULTILINE)
NAME = re.compile(r"`([^`]+)`")


def table(heading: str) -> list[list[str]]:
    """The cells of the table whose heading begins with these words, row by row."""
    lines = PAGE[PAGE.index(f"| {heading}") :].splitlines()
    rows: list[list[str]] = []
    for line in lines[2:]:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def names(cells: list[str]) -> set[str]:
    return {name for cell in cells for name in NAME.findall(cell)}


def routes_in_code() -> Iterator[tuple[str, str, str]]:
    for kind, routes in ROUTES.items():
        for source, to in routes:
            if to is not None:
                yield source or "[*]", to, kind


def test_the_diagram_shows_every_way_of_a_record_and_no_other() -> None:
    drawn = {(source, to, kind) for source, to, kinds in ARROW.findall(PAGE) for kind in kinds.split(", ")}
    assert drawn == set(routes_in_code())


def test_every_kind_of_entry_is_explained() -> None:
    assert names([row[0] for row in table("entry ")]) == set(EntryKind)


def test_what_moves_nothing_is_said_to_move_nothing() -> None:
    still = {kind for kind, routes in ROUTES.items() if routes == ((None, None),)}
    assert {NAME.findall(row[0])[0] for row in table("entry ") if "moves nothing" in row[1]} == still


def test_the_crash_table_names_every_crash_point_and_no_other() -> None:
    assert names([row[1] for row in table("killed ")]) == set(CRASH_POINTS)


def test_every_row_of_the_crash_table_says_what_mends_it() -> None:
    assert [row[0] for row in table("killed ") if len(row) != 4 or not all(row)] == []


def test_every_reason_that_a_retry_leaves_alone_is_explained() -> None:
    assert names([row[0] for row in table("reason ")]) == set(UNCERTAIN)


def test_the_events_table_reaches_every_state_and_no_other() -> None:
    reached = {state for row in table("from ") for state in re.sub(r"\(.*?\)|, due .*", "", row[1]).split(", ")}
    assert {state.strip() for state in reached} == set(EventState)


def test_every_state_of_a_case_is_named() -> None:
    assert set(CaseState) <= names([PAGE[PAGE.index("A case's state follows") :]])
