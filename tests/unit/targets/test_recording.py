"""Whoever tests against the recording target must see what a real one promises: a second try is no second send."""

from pathlib import Path

from tests.recording import RecordingTarget
from tests.unit.targets.stripe_double import Kept
from workers.targets import Outgoing, Target


def test_a_submission_is_recorded_once_however_often_it_is_sent() -> None:
    target = RecordingTarget()
    seam: Target = target
    out = Outgoing("case_1-1", None, Path("set.parquet"), 3)
    assert seam.send(out, Kept()) == seam.send(out, Kept())
    assert target.sent == {"case_1-1": out}
