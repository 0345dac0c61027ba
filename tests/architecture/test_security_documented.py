"""If these fail, docs/SECURITY.md promises what nothing shows."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
NAMED = re.compile(r"`((?:unit|integration|system)/[\w/.]*|test_\w+\.py)`")


def test_every_row_of_the_threat_model_names_tests_that_exist() -> None:
    rows = [line for line in (TESTS.parent / "docs" / "SECURITY.md").read_text().splitlines() if line[:2] == "| "]
    for row in rows[1:]:
        who, _, _, _, shown_by = row.split("|")[:5]
        named = NAMED.findall(row.split("|")[4])
        assert named or shown_by.strip() in {"guard it", "nothing can: guard it as the API key"}, who
        room = TESTS
        for name in named:
            room = (TESTS / name).parent if "/" in name else room
            assert (room / Path(name).name).exists(), f"{who}: {name}"
