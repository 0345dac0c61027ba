"""An error of our own must not bury the operator under a traceback, nor hide from who has to mend it."""

from pathlib import Path

import pytest

from tests.unit.cli.usage import company, run
from workers.cli import check, repair, rules


class _Broken(Exception):
    pass


def _break(*_: object, **__: object) -> None:
    raise _Broken("height 1 does not match\nIf you want an expression, do otherwise")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METERMEND_DEBUG", raising=False)
    for module, name in ((check, "planned"), (repair, "planned"), (rules, "explain")):
        monkeypatch.setattr(module, name, _break)


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    "command", [["check"], ["repair", "--out", "out"], ["rules", "explain", "--rules", "rules.toml"]]
)
def test_an_internal_error_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    company(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = run(*command, "usage.csv")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: internal error: _Broken: height 1 does not match; run with METERMEND_DEBUG=1 for the traceback\n"
    )


@pytest.mark.usefixtures("broken")
def test_who_looks_for_the_cause_gets_the_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERMEND_DEBUG", "1")
    assert isinstance(run("check", company(tmp_path)).exception, _Broken)


def test_a_worker_that_dies_leaves_its_traceback_in_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its death may not happen again on the day that somebody looks."""
    monkeypatch.delenv("METERMEND_DEBUG", raising=False)
    monkeypatch.setattr("workers.cli.worker.load", _break)
    assert isinstance(run("worker").exception, _Broken)


def test_a_reader_that_goes_away_is_no_internal_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`metermend check usage.csv | head` ends in silence."""

    def gone(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(check, "planned", gone)
    result = run("check", company(tmp_path))
    assert result.stderr == ""
    assert result.exit_code == 141  # as of any command that `head` ends; 1 would say that something was found


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(13, "Permission denied", "/there"), "/there: Permission denied"),
        (OSError(28, "No space left on device", "a\nb\x1b[2J"), "a\\nb\\x1b[2J: No space left on device"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates not allowed"), "a\\udcff: it is no UTF-8 text"),
    ],
)
def test_what_the_system_refuses_is_named_and_is_no_fault_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(check, "planned", refuse)
    result = run("check", company(tmp_path))
    assert (result.exit_code, result.stderr) == (2, f"Error: {told}\n")


@pytest.mark.parametrize("obeyed", ["\x1b[2J", "\x1b]0;pwned\x07", "\u202e", "\udcff", "\r"])
def test_no_name_of_a_file_or_option_steers_the_terminal(tmp_path: Path, obeyed: str) -> None:
    file = company(tmp_path)
    for command in (
        ["check", obeyed],
        [obeyed],
        ["check", file, "--now", obeyed],
        ["check", file, "--kind", obeyed],
    ):
        result = run(*command)
        assert result.exit_code == 2
        assert obeyed not in result.output
