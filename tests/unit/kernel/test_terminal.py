"""If these fail, whoever sends usage can write on the operator's terminal what the operator believes to be ours."""

import io
import logging
import sys
from collections.abc import Iterator
from unicodedata import category

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from workers.kernel import logs, terminal
from workers.kernel.terminal import shown, visible

OBEYED = [
    ("\x1b[2J", "\\x1b[2J"),
    ("\x1b]0;pwned\x07", "\\x1b]0;pwned\\x07"),
    ("\x1b]8;;http://evil.example\x1b\\click", "\\x1b]8;;http://evil.example\\x1b\\click"),
    ("\x1b[8mhidden", "\\x1b[8mhidden"),
    ("\x9b31m", "\\x9b31m"),
    ("100\r999", "100\\r999"),
    ("100\x08\x08\x089", "100\\x08\\x08\\x089"),
    ("\u202efdp.exe", "\\u202efdp.exe"),
    ("a\u2066b\u2069", "a\\u2066b\\u2069"),
    ("cus_1\u200b", "cus_1\\u200b"),
    ("\ufeffcus_1", "\\ufeffcus_1"),
    ("\U000e0041", "\\U000e0041"),
    ("\ud800", "\\ud800"),
    ("a\u2028b", "a\\u2028b"),
    ("\x00", "\\x00"),
]


@pytest.mark.parametrize(("text", "written"), OBEYED)
def test_what_a_terminal_would_obey_is_written_out(text: str, written: str) -> None:
    assert visible(text) == written


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left_and_all_else_stays(text: str) -> None:
    written = visible(text)
    assert not {category(one) for one in written} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert visible(written) == written
    assert all(one in written for one in text if one.isprintable())


@pytest.mark.parametrize("text", ["größe", "東京\u3000", "🧮", "a b", "\xa0"])
def test_a_name_in_any_language_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(("text", "written"), OBEYED)
def test_a_stream_keeps_its_lines_and_nothing_else(text: str, written: str) -> None:
    out = io.StringIO()
    print(f"1\t{text}\n2", file=shown(out))
    assert out.getvalue() == f"1\t{written}\n2\n"


@pytest.mark.parametrize("text", ["\x1b[2J", "\x1b]0;pwned\x07", "\u202e", "\x9b31m"])
def test_a_table_keeps_its_colours_and_obeys_nobody_else(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown(out))
    table = Table()
    table.add_column(Text(f"name{text}", "red"))
    table.add_row(f"name{text}")
    made = terminal.console(force_terminal=True, color_system="standard")
    made.print(table)
    made.print(text)
    assert "\x1b[" in out.getvalue()
    assert text not in out.getvalue()


@pytest.fixture
def restored() -> Iterator[None]:
    """Put logging back as pytest had it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.parametrize("log_format", ["pretty", "json"])
@pytest.mark.parametrize("text", ["\x1b[2J", "\x1b]0;pwned\x07", "\u202e"])
def test_an_event_cannot_steer_the_terminal_through_the_log(
    restored: None, capsys: pytest.CaptureFixture[str], log_format: str, text: str
) -> None:
    logs.configure(log_format)
    logs.get_logger("ours").warning("trouble", headline=f"file {text}", found=[text])
    logging.getLogger("theirs").warning("no such file: %s", text)
    said = capsys.readouterr().err
    assert "trouble" in said
    assert "no such file" in said
    assert text not in said
