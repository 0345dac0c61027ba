"""If this fails, what is said of how much one event costs can no longer be measured."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_one_event_of_each_kind_is_followed_from_its_post_to_its_confirmation() -> None:
    command = [sys.executable, "-m", "bench", "way", "--json"]
    told = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stderr
    figures = json.loads(told.stdout)["way"]
    assert set(figures) == {"thin", "snapshot"}
    assert all(of_kind["writes"] > 0 for of_kind in figures.values())
