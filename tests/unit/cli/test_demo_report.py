"""If these fail, the demo's outcome does not fit a screen, or one demo empties the folder of another that runs."""

from pathlib import Path

from workers.alerts import SlackAlerts
from workers.cli.demo.report import code_lines
from workers.cli.demo.stage import SlackSink, folder_of_its_own
from workers.kernel.codes import Code
from workers.kernel.ledger.examples import Change
from workers.kernel.ledger.journal import Bucket, Tally

CODES = {str(code): {Bucket.CONFIRMED: Tally(1_234), Bucket.QUARANTINED: Tally(2)} for code in Code}
MENDED = {code: Change(code, 0, "use-1", "payload_value", "1\x1b,5" * 30, "15", "thousands") for code in CODES}


def test_the_outcome_fits_a_screen_of_a_hundred_columns() -> None:
    lines = list(code_lines(CODES, MENDED, 100))
    assert max(map(len, lines)) <= 100
    assert len(lines) <= 2 * len(Code) + 3
    assert "\x1b" not in "".join(lines)
    assert "1,236" in lines[1]


def test_a_second_demo_takes_a_folder_of_its_own(tmp_path: Path) -> None:
    with folder_of_its_own(tmp_path / "demo") as first, folder_of_its_own(tmp_path / "demo") as second:
        assert (first.name, second.name) == ("demo", "demo-2")
    with folder_of_its_own(tmp_path / "demo") as again:
        assert again == first


def test_the_demo_is_well_in_the_eyes_of_doctor() -> None:
    """Told that Slack is broken where nothing is, a newcomer mends the wrong thing first."""
    with SlackSink() as slack:
        SlackAlerts(slack.url).ask()
        assert slack.messages == []
