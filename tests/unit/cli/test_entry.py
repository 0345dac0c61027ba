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
    for module, name in ((check, "plan_file"), (repair, "plan_file"), (rules, "explain")):
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

    monkeypatch.setattr(check, "plan_file", gone)
    result = run("check", company(tmp_path))
    assert "internal error" not in result.stderr
