"""Usage that stands in an older file: if these fail, a billed file that is uploaded again is billed again."""

import gzip
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.recording import RecordingUsageSources
from workers.kernel.clock import utc_now
from workers.kernel.reasons import IN_OLDER_FILE
from workers.pipeline.intake.older_files import OlderFiles
from workers.records.files.open import open_file
from workers.records.schema import REASON, SOURCE, SUGGESTION, UNREADABLE, WRITTEN, dtype_of
from workers.records.schema import ROW as ROW_NUMBER
from workers.sources import StoredUsageSources

NOW = utc_now()  # the sources look back from the machine's present
AT = int(NOW.timestamp()) - 3600
HEADER = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value"
SHUFFLED = "payload_value,event_name,identifier,timestamp,payload_stripe_customer_id"
Files = dict[str, str | bytes]


def csv(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows, ""])


def as_json(**changes: object) -> str:
    row = {"timestamp": AT, "event_name": "tokens", "payload": {"stripe_customer_id": "cus_1", "value": "5"}}
    return json.dumps(row | changes)


def write(path: Path, data: str | bytes, age: timedelta) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    os.utime(path, times=((NOW - age).timestamp(),) * 2)


@pytest.fixture
def held(tmp_path: Path) -> Callable[..., list[bool]]:
    """Tell which records of a file that Stripe refused a day ago are held for what the sender wrote before."""

    def ask(refused: Files, older: Files, *, by_row: bool = False) -> list[bool]:
        for name, data in older.items():
            write(tmp_path / "sources" / name, data, timedelta(days=3))
        [(name, data)] = refused.items()
        path = tmp_path / "sources" / name
        write(path, data, timedelta(days=1, minutes=1))
        sources = StoredUsageSources([str(tmp_path / "sources")], tmp_path / "cache")
        files = OlderFiles(sources, NOW - timedelta(days=1), lambda: sources.copies(path), by_row)
        with open_file(path) as usage:
            told = pl.concat(list(files.hold(usage.read(part) for part in usage.parts(1 << 20))), how="diagonal")
        if REASON not in told.columns:
            return [False] * told.height
        assert told.filter(pl.col(REASON).is_not_null())[SUGGESTION].str.contains(" row [0-9]+, written at ").all()
        return [reason == IN_OLDER_FILE for reason in told[REASON]]

    return ask


ROW = f"i1,{AT},tokens,cus_1,5"
NAMELESS = f",{AT},tokens,cus_1,5"
TIME = f"{datetime.fromtimestamp(AT, UTC):%Y-%m-%dT%H:%M:%SZ}"

AGAIN: dict[str, tuple[Files, Files]] = {
    "with semicolons": ({"b.csv": csv(ROW).replace(",", ";")}, {"a.csv": csv(ROW)}),
    "in UTF-16": ({"b.csv": csv(ROW).encode("utf-16")}, {"a.csv": csv(ROW)}),
    "as JSON lines": ({"b.jsonl": as_json(identifier="i1")}, {"a.csv": csv(ROW)}),
    "as CSV after a JSON array": ({"b.csv": csv(ROW)}, {"a.json": f"[{as_json(identifier='i1')}]"}),
    "after a compressed one": ({"b.csv": csv(ROW)}, {"a.csv.gz": gzip.compress(csv(ROW).encode())}),
    "with its columns in another order": (
        {"b.csv": csv(f"5,tokens,i1,{AT},cus_1", header=SHUFFLED)},
        {"a.csv": csv(ROW)},
    ),
    "with its time as text": ({"b.csv": csv(f"i1,{TIME},tokens,cus_1,5")}, {"a.csv": csv(ROW)}),
    "with its time in milliseconds": ({"b.csv": csv(f"i1,{AT}000,tokens,cus_1,5")}, {"a.csv": csv(ROW)}),
    "with a time that nobody can read": ({"b.csv": csv("i1,lately,tokens,cus_1,5")}, {"a.csv": csv(ROW)}),
    "with blanks around its event name": ({"b.csv": csv(f"i1,{AT}, tokens ,cus_1,5")}, {"a.csv": csv(ROW)}),
    "with its event name spelt otherwise": (
        {"b.csv": csv(f"i1,{AT},Tokens-Used,cus_1,5")}, {"a.csv": csv(f"i1,{AT},tokens_used,cus_1,5")}
    ),
    "with another value": ({"b.csv": csv(f"i1,{AT},tokens,cus_1,50")}, {"a.csv": csv(ROW)}),
    "with another customer": ({"b.csv": csv(f"i1,{AT},tokens,cus_2,5")}, {"a.csv": csv(ROW)}),
    "after a file of a folder below": ({"b.csv": csv(ROW)}, {"2026/11/a.csv": csv("x,1,x,x,1", ROW)}),
    "after a file that holds much else": (
        {"b.csv": csv(ROW)},
        {"a.csv": csv(*(f"x{n},{AT},tokens,cus_1,5" for n in range(300)), ROW)},
    ),
    "without identifiers": ({"b.csv": csv(NAMELESS)}, {"a.csv": csv(NAMELESS, "x,1,x,x,1")}),
    "without a column of identifiers": (
        {"b.csv": csv(NAMELESS[1:], header=HEADER.partition(",")[2])}, {"a.csv": csv(NAMELESS)}
    ),
    "with identifiers that it lacked": ({"b.csv": csv(ROW)}, {"a.csv": csv(NAMELESS)}),
    "without identifiers, as JSON": ({"b.jsonl": as_json()}, {"a.csv": csv(NAMELESS)}),
    "without identifiers, with an empty column more": (
        {"b.csv": csv(f"{NAMELESS},", header=f"{HEADER},payload_region")}, {"a.csv": csv(NAMELESS)}
    ),
}  # fmt: skip


@pytest.mark.parametrize(("refused", "older"), AGAIN.values(), ids=AGAIN)
def test_billed_usage_that_is_uploaded_again_waits_however_it_is_written(
    held: Callable[..., list[bool]], refused: Files, older: Files
) -> None:
    """Stripe refused the file that has it now, and has forgotten the identifiers: cured, it is billed again."""
    assert held(refused, older) == [True]


OTHERS: dict[str, tuple[str, str]] = {
    "the same number of another day": (f"i1,{AT - 86_400},tokens,cus_1,5", ROW),
    "the same number of another second": (f"i1,{AT - 1},tokens,cus_1,5", ROW),
    "the same number of another meter": (f"i1,{AT},calls,cus_1,5", ROW),
    "a number that begins alike": (f"i12,{AT},tokens,cus_1,5", ROW),
    "a number in other letters": (f"I1,{AT},tokens,cus_1,5", ROW),
    "nameless usage of another customer": (f",{AT},tokens,cus_2,5", NAMELESS),
    "nameless usage of another value": (f",{AT},tokens,cus_1,6", NAMELESS),
    "nameless usage of another second": (f",{AT - 1},tokens,cus_1,5", NAMELESS),
    "nameless usage of another meter": (f",{AT},calls,cus_1,5", NAMELESS),
    "a customer and a value that add up to the same text": (f",{AT},tokens,cus_15,", f",{AT},tokens,cus_1,5"),
}


def frame(row: str, written: timedelta) -> pl.DataFrame:
    """One row as it is read, of a file that was last written so long ago."""
    cells = dict(zip(HEADER.split(","), (cell or None for cell in row.split(",")), strict=True))
    read = {**cells, ROW_NUMBER: 1, SOURCE: "a.csv", UNREADABLE: None, WRITTEN: NOW - written}
    return pl.DataFrame([read], schema={name: dtype_of(name) for name in read})


@pytest.mark.parametrize(("refused", "older"), OTHERS.values(), ids=OTHERS)
def test_usage_that_no_older_file_has_does_not_wait(refused: str, older: str) -> None:
    """Senders count anew every day: whole files would wait for a person, and the invoice does not."""
    sources = RecordingUsageSources(frame(older, timedelta(days=3)))
    files = OlderFiles(sources, NOW - timedelta(days=1), frozenset, by_row=False)
    [told] = files.hold([frame(refused, timedelta(days=1))])
    assert REASON not in told.columns


def test_only_what_was_written_before_stripe_refused_it_was_billed_before() -> None:
    """The sender's mended file, written since, would have the refused one wait for ever."""
    ages = {
        "a second": 1,
        "an hour": 3600,
        "20 days": 20 * 86_400,
        "at once": 0,
        "later": -1,
        "ahead": -30 * 86_400,
    }
    rows = {name: f"{name},{AT},tokens,cus_1,5" for name in ages}
    refused = timedelta(days=1)
    older = [frame(rows[name], refused + timedelta(seconds=age)) for name, age in ages.items()]
    files = OlderFiles(RecordingUsageSources(pl.concat(older)), NOW - refused, frozenset, by_row=False)
    [told] = files.hold([pl.concat([frame(row, refused) for row in rows.values()])])
    assert told.filter(pl.col(REASON).is_not_null())["identifier"].to_list() == ["a second", "an hour", "20 days"]


def test_only_those_rows_of_a_file_wait_that_an_older_one_has(held: Callable[..., list[bool]]) -> None:
    """An export that grows every day would be held whole for what it told yesterday."""
    rows = [f"i{n},{AT},tokens,cus_1,{n}" for n in range(6)] + [f",{AT},tokens,cus_1,{n}" for n in range(4)]
    older: Files = {"a.csv": csv(*rows[:2]), "z.csv": csv(rows[5], rows[7])}
    assert held({"b.csv": csv(*rows)}, older) == [n in {0, 1, 5, 7} for n in range(10)]


def test_a_copy_that_the_sender_keeps_of_the_refused_file_is_no_older_file(held: Callable[..., list[bool]]) -> None:
    """Whoever exports to one folder and uploads from another would have nothing recovered."""
    assert held({"b.csv": csv(ROW, NAMELESS)}, {"exports/b.csv": csv(ROW, NAMELESS)}) == [False, False]


@pytest.mark.parametrize(("told", "waits"), [("+5", False), ("5", True)])
def test_a_row_that_was_refused_for_its_form_was_refused_from_the_older_file_too(
    held: Callable[..., list[bool]], told: str, waits: bool
) -> None:
    """The same faulty text was never billed; another text under its identifier may have been."""
    faulty, older = f"i1,{AT},tokens,cus_1,+5", f"i1,{AT},tokens,cus_1,{told}"
    other = f"x9,{AT},tokens,cus_1,1"
    assert held({"b.csv": csv(faulty)}, {"a.csv": csv(other, older)}, by_row=True) == [waits]
