"""If these fail, `make stripe-cli` says of a command that it did as told when it did not."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from workers.cli.db import migrate
from workers.cli.demo.cli_acts import ACTS, play_acts
from workers.cli.demo.stripe_cli import StripeCli, find_cli
from workers.cli.processes import Processes
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import Ledger, connect


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    migrate(url)
    opened = connect(url)
    yield opened
    opened.close()


def _cli(folder: Path, script: str) -> StripeCli:
    program = folder / "stripe"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return StripeCli(str(program), {})


LISTENS = """case $1 in
listen) echo 'Ready!'; echo '<--  [200] POST http://here [evt_1]'; echo '<--  [400] POST http://here [evt_2]'; cat;;
fixtures) echo no such host >&2; exit 1;;
billing) echo '{"data": []}';;
events) echo '{"data": [{"id": "evt_1"}]}'; echo '<--  [200] POST http://here [evt_1]' >>LOG;;
esac"""


def test_a_command_that_brings_nothing_about_is_not_as_told(tmp_path: Path, ledger: Ledger) -> None:
    """Nothing was refused, a command failed, and of two events that were forwarded one was not taken."""
    cli = _cli(tmp_path, LISTENS.replace("LOG", str(tmp_path / "logs" / "stripe-listen-snapshot.log")))
    console = Console(record=True, width=200)
    with Processes(tmp_path / "logs") as processes:
        assert not play_acts(console, cli, "http://here", ledger, processes, settle=lambda: True)
    said = console.export_text()
    assert said.count("NOT SO") == len(ACTS) + 3
    assert "as told" in next(line for line in said.splitlines() if "resend" in line)
    assert "2 events forwarded, 1 taken with 200" in said
    assert "stripe fixtures fixtures/cli/bad_day.json failed: no such host" in said
    assert "no meter metermend_cli_archived is archived" in said


def test_without_the_cli_no_day_is_played_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputUnusable, match="the Stripe CLI is not here"):
        find_cli()
