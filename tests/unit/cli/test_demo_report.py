"""If these fail, the demo's outcome does not fit a screen, or one demo empties the folder of another that runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from workers.alerts import SlackAlerts
from workers.cli.demo.report import code_lines
from workers.cli.demo.stage import SlackSink, Stage, folder_of_its_own, keep_environment
from workers.kernel.codes import Code
from workers.kernel.ledger.examples import Change
from workers.kernel.ledger.journal import Bucket, Tally

CODES = {str(code): {Bucket.CONFIRMED: Tally(1_234), Bucket.QUARANTINED: Tally(2)} for code in Code}
MENDED = {code: Change(code, 0, "use-1", "payload_value", "1\x1b,5" * 30, "15", "thousands") for code in CODES}


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_outcome_fits_the_screen_and_no_repair_is_cut_off(width: int) -> None:
    """A newcomer who sees half of each repair has seen none."""
    lines = list(code_lines(CODES, MENDED, width))
    assert max(map(len, lines)) <= width
    assert sum(line.endswith("'15'") for line in lines) == len(Code)
    assert "\x1b" not in "".join(lines)
    assert "1,236" in lines[1] + lines[3]


def test_a_second_demo_takes_a_folder_of_its_own(tmp_path: Path) -> None:
    with folder_of_its_own(tmp_path / "demo") as first, folder_of_its_own(tmp_path / "demo") as second:
        assert (first.name, second.name) == ("demo", "demo-2")
    with folder_of_its_own(tmp_path / "demo") as again:
        assert again == first


def test_the_line_that_the_demo_prints_is_all_that_another_terminal_needs(tmp_path: Path) -> None:
    """A terminal in which nobody has activated `.venv` answers the page's first command "command not found"."""
    stage = Stage(tmp_path, "", "", "", "", "")
    keep_environment(stage, {"LOG_FORMAT": "json"})
    line = f"set -a; . {stage.environment}; set +a; command -v metermend"
    there = subprocess.check_output(["/bin/sh", "-c", line], env={"PATH": "/bin"}, text=True, timeout=10)
    assert Path(there.strip()).parent == Path(sys.executable).parent


def test_the_demo_is_well_in_the_eyes_of_doctor() -> None:
    """Told that Slack is broken where nothing is, a newcomer mends the wrong thing first."""
    with SlackSink() as slack:
        SlackAlerts(slack.url).ask()
        assert slack.messages == []
