"""If these fail, docs/STRIPE_CLI.md lets an event out, or sends its reader for a file that is not there."""

import re
from pathlib import Path

from workers.kernel.codes import EventType

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "STRIPE_CLI.md").read_text()


def test_the_page_says_how_to_cause_each_event_in_a_sandbox() -> None:
    rows = [line for line in PAGE.partition("## Against a sandbox")[2].splitlines() if line.startswith("| `")]
    told = {name for row in rows for name in re.findall(r"`([\w.]+)`", row.split("|")[1])}
    assert told == {str(event_type) for event_type in EventType}


def test_the_fixture_files_of_the_page_and_no_others_are_here() -> None:
    assert set(re.findall(r"fixtures/cli/\w+\.json", PAGE)) == {
        str(file.relative_to(ROOT)) for file in (ROOT / "fixtures" / "cli").iterdir()
    }
