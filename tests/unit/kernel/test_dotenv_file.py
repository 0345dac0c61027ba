"""If these fail, a setting that was written down wrongly is left out without a word."""

from pathlib import Path

import pytest

from workers.kernel.errors import SettingsUnusable
from workers.kernel.settings import Settings, load, read


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to start in, without a setting."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", ["STRIPE_API_KEY: sk_test_1", "STRIPE_API_KEY", "STRIPE_API_KEY='sk_test_1"])
def test_a_line_that_cannot_be_read_is_named_and_not_shown(folder: Path, line: str) -> None:
    (folder / ".env").write_text(f"PORT=4243\n\n\n{line}\n")
    with pytest.raises(SettingsUnusable, match=r"\.env: line 4 is not NAME=value") as caught:
        load()
    assert "sk_test_1" not in str(caught.value)


def test_what_stands_beside_a_wrong_line_is_still_read(folder: Path) -> None:
    (folder / ".env").write_text("nonsense here\nPORT=4243\n")
    settings, faults = read()
    assert (settings.port, len(faults)) == (4243, 1)


def test_every_wrong_setting_is_found_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the operator mends one, starts again, and finds the next."""
    monkeypatch.setenv("PORT", "many")
    monkeypatch.setenv("JOB_TIMEOUT", "1")
    monkeypatch.setenv("STRIPE_API_KEY_FILE", str(folder / "nothing"))
    monkeypatch.setenv("SESSION_SECRET_FILE", str(folder))
    settings, faults = read()
    assert {fault.where for fault in faults} == {
        "PORT",
        "JOB_TIMEOUT",
        "STRIPE_API_KEY_FILE",
        "SESSION_SECRET_FILE",
    }
    assert (settings.port, settings.stripe_api_key) == (4242, None)


def test_a_file_that_is_no_text_is_one_fault(folder: Path) -> None:
    (folder / ".env").write_bytes(b"PORT=\xff\n")
    assert [fault.where for fault in read()[1]] == [".env"]


def test_a_comment_a_blank_line_and_an_export_are_fine(folder: Path) -> None:
    (folder / ".env").write_text("# ours\n\nexport PORT=4243 # a port\n")
    assert load().port == 4243
