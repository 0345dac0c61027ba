"""If these fail, the log of a bad night cannot be searched."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from workers.kernel import logs


@pytest.fixture
def restored() -> Iterator[None]:
    """Put logging back as pytest had it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_ours_and_the_libraries_lines_are_json_with_what_is_bound(
    restored: None, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("json")
    structlog.contextvars.bind_contextvars(event_id="evt_1")
    logs.get_logger("ours").info("webhook", answer="received", ms=1.5)
    logging.getLogger("theirs").warning("pool is %s", "full")
    logging.getLogger("stripe").info("not shown")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["answer"], ours["ms"], ours["event_id"]) == ("webhook", "received", 1.5, "evt_1")
    assert (theirs["event"], theirs["level"], theirs["event_id"]) == ("pool is full", "warning", "evt_1")
    assert ours["timestamp"].endswith("Z")


def test_an_error_is_one_line_of_json_with_its_trace(restored: None, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    try:
        raise ValueError("broken")
    except ValueError as error:
        logs.get_logger("ours").error("request_failed", exc_info=error)
    [line] = capsys.readouterr().err.splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), BrokenPipeError(), ValueError("closed")])
def test_a_line_that_cannot_be_written_ends_no_work(
    restored: None, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_: str) -> int:
        raise error

    full = io.StringIO()
    monkeypatch.setattr(full, "write", fail)
    monkeypatch.setattr(sys, "stderr", full)
    logs.configure("json")
    logs.get_logger("ours").info("webhook", answer="received")


def test_configuring_twice_does_not_write_twice(restored: None, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    logs.configure("pretty")
    logs.get_logger("twice").info("once")
    assert capsys.readouterr().err.count("once") == 1
