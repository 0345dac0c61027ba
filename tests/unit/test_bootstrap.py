"""If these fail, usage goes where nobody has said, and is billed to the wrong account or by the wrong biller."""

from pathlib import Path

import pytest

from workers.bootstrap import build
from workers.kernel.errors import SettingsUnusable
from workers.kernel.settings import load
from workers.pipeline.context import Context


@pytest.mark.parametrize(
    ("submit_to", "ours", "windows", "theirs"),
    [
        ("meter-event-stream", "meter-event-stream", "meter-event-stream", "meter-event-stream"),
        ("folder,meter-event-stream", "files", "meter-event-stream", "meter-event-stream"),
        ("folder,acct_2=meter-events", "files", "meter-events", "meter-events"),
        ("metronome", "metronome", "metronome", None),
        ("metronome,acct_2=meter-events", "metronome", "metronome", "meter-events"),
    ],
)
def test_usage_goes_where_submit_to_says(
    tmp_path: Path, submit_to: str, ours: str, windows: str, theirs: str | None
) -> None:
    """Its own, that of pre-aggregated meters, and that of a connected account which SUBMIT_TO does not name."""
    made = _built(tmp_path, submit_to=submit_to, metronome_token="made_up")
    found = (made.target_of(None), made.window_target_of(None), made.target_of("acct_1"))
    assert [target.name if target else None for target in found] == [ours, windows, theirs]


def test_metronome_without_a_token_is_said_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(SettingsUnusable, match="METRONOME_TOKEN"):
        _built(tmp_path, submit_to="metronome")


def _built(folder: Path, **settings: str) -> Context:
    places = {
        "scratch_dir": str(folder),
        "archive_url": str(folder),
        "database_url": f"sqlite:///{folder}/ledger.db",
    }
    return build(load({"stripe_api_key": "sk_test_made_up_key", **places, **settings}))
