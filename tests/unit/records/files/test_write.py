"""What is written is what Stripe bills: every character of it, once, in files that it takes."""

import csv
import io
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.records.reading import cells, read_all
from workers.records.files import stripe_formats
from workers.records.files.stripe_formats import TEMPLATES
from workers.records.files.write import CsvWriter, TemplateWriter, WrittenFile
from workers.records.schema import TEMPLATE_COLUMNS

COLUMNS = [*TEMPLATE_COLUMNS, "payload_region"]
CHARACTERS = st.one_of(st.sampled_from(list('",;\n\r\\ \t/é😀')), st.characters(exclude_categories=["Cs", "Cc"]))
CELL = st.one_of(
    st.none(), st.text(CHARACTERS, min_size=1, max_size=6), st.sampled_from(["007", "0.10", "1e3", "-5"])
)
ROWS = st.lists(st.tuples(*[CELL] * len(COLUMNS)), min_size=1, max_size=12)
FORMATS = st.sampled_from(sorted(TEMPLATES))


def frame_of(rows: list[tuple[str | None, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")


def write(folder: str | Path, file_format: str, frames: list[pl.DataFrame], **limits: int) -> list[WrittenFile]:
    with TemplateWriter(Path(folder) / "corrected", file_format, **limits) as writer:
        for frame in frames:
            writer.append(frame)
        return writer.close()


@given(ROWS, FORMATS)
def test_what_is_written_reads_back_as_it_was(rows: list[tuple[str | None, ...]], file_format: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (written,) = write(folder, file_format, [frame_of(rows)])
        frame = read_all(written.path.read_bytes(), written.path.name)
        assert written.bytes == written.path.stat().st_size
    absent = [pl.lit(None, pl.String).alias(name) for name in COLUMNS if name not in frame.columns]
    assert cells(frame.with_columns(absent).select(COLUMNS)) == rows


@given(ROWS, FORMATS, st.integers(1, 5), st.integers(300, 700), st.integers(1, 12))
def test_the_split_obeys_the_limits_and_not_the_frames(
    rows: list[tuple[str | None, ...]], file_format: str, max_records: int, max_bytes: int, step: int
) -> None:
    frame = frame_of(rows)
    limits = {"max_records": max_records, "max_bytes": max_bytes}
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        whole = write(one, file_format, [frame], **limits)
        pieces = write(other, file_format, [frame[i : i + step] for i in range(0, len(rows), step)], **limits)
        assert [file.path.read_bytes() for file in whole] == [file.path.read_bytes() for file in pieces]
        assert sum(file.records for file in whole) == len(rows)
        for file in whole:
            assert 0 < file.records <= max_records
            assert file.bytes <= max_bytes
        read_back = [row for file in whole for row in _identifiers(file.path)]
    assert read_back == [row[0] for row in rows]


def _identifiers(path: Path) -> list[str | None]:
    return read_all(path.read_bytes(), path.name)["identifier"].to_list()


def test_csv_is_in_the_order_of_stripes_template(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"payload_b": ["x"], "payload_value": ["1"], "note": ["n"], "identifier": ["a"], "@row": [1]}
    )
    (written,) = write(tmp_path, "csv", [frame])
    header, row = csv.reader(io.StringIO(written.path.read_text()))
    assert header == [*TEMPLATE_COLUMNS, "payload_b"]
    assert row == ["a", "", "", "", "1", "x"]


def test_json_nests_the_payload_and_writes_numbers_as_they_are(tmp_path: Path) -> None:
    rows: list[tuple[str | None, ...]] = [
        ("a", "1700000000", "calls", "cus_1", "12345678901234567890.10", "eu"),
        ("b", "1700000000", "calls", "cus_1", "007", None),
    ]
    for name, opening in (("jsonl", ""), ("json", "[\n")):
        (written,) = write(tmp_path, name, [frame_of(rows)])
        text = written.path.read_text()
        assert text.startswith(
            opening + '{"identifier":"a","timestamp":1700000000,"event_name":"calls",'
            '"payload":{"stripe_customer_id":"cus_1","value":12345678901234567890.10,"region":"eu"}}'
        )
        assert '"value":"007"}' in text, "no JSON number starts with a zero"
    assert len(json.loads((tmp_path / "corrected.json").read_text())) == 2


JSON_CELL = st.one_of(
    CELL,
    st.sampled_from(["1", "-0.50", "1.", "01", "12\n", "\x1f", "\x7f", 'a"b', "back\\slash", "\b\f\t"]),
    st.characters(exclude_categories=["Cs"]),
)


def json_object(row: dict[str, str | None]) -> str:
    """What the standard library makes of the row."""

    def members(names: list[str], prefix: str = "") -> str:
        pairs = [(name.removeprefix(prefix), name, row[name]) for name in names]
        return ",".join(
            f"{json.dumps(key)}:{text if is_number(name, text) else json.dumps(text, ensure_ascii=False)}"
            for key, name, text in pairs
            if text is not None
        )

    outer = members(COLUMNS[:3])
    return f'{{{outer}{"," if outer else ""}"payload":{{{members(COLUMNS[3:], "payload_")}}}}}'


def is_number(name: str, text: str) -> bool:
    wanted = name in {"timestamp", "payload_value"}
    return wanted and re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", text, re.ASCII) is not None


@given(st.lists(st.tuples(*[JSON_CELL] * len(COLUMNS)), min_size=1, max_size=8), st.integers(0, 8))
def test_json_is_what_the_standard_library_would_write(rows: list[tuple[str | None, ...]], plain_rows: int) -> None:
    """Plain rows and odd ones go different ways: one that comes back in another's place bills another customer."""
    plain = [(f"id{n}", str(n), "calls", "cus_1", f"{n}.50", "eu") for n in range(plain_rows)]
    for mixed in (rows + plain, plain + rows, [row for pair in zip(plain, rows, strict=False) for row in pair]):
        lines = [json_object(dict(zip(COLUMNS, row, strict=True))) for row in mixed]
        assert TEMPLATES["jsonl"].rows(frame_of(mixed)).decode() == "".join(f"{line}\n" for line in lines)
        assert TEMPLATES["json"].rows(frame_of(mixed)).decode() == "".join(f"{line},\n" for line in lines)


def test_plain_rows_never_pay_for_odd_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dear way costs four times as much: one absent region among a million rows sends one row there."""
    dear: list[int] = []
    any_object = stripe_formats._any_object

    def counted(frame: pl.DataFrame) -> pl.Expr:
        dear.append(frame.height)
        return any_object(frame)

    monkeypatch.setattr(stripe_formats, "_any_object", counted)
    plain: list[tuple[str | None, ...]] = [("a", "1700000000", "calls", "cus_é", "0.10", "eu")] * 50
    stripe_formats.json_rows(frame_of(plain))
    stripe_formats.json_rows(frame_of([(*row[:5], None) for row in plain]))
    assert dear == [], "nor does a column that no row has"
    stripe_formats.json_rows(frame_of([*plain, ("b", None, "calls", "cus_1", "1", "eu"), *plain]))
    assert dear == [1]


def test_nothing_is_written_where_there_is_no_record(tmp_path: Path) -> None:
    for name in TEMPLATES:
        assert write(tmp_path, name, []) == []
        assert write(tmp_path, name, [frame_of([])]) == []
    with CsvWriter(tmp_path / "quarantine.csv", COLUMNS) as writer:
        writer.append(frame_of([]))
        assert writer.close() == []
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_no_half_file_behind(tmp_path: Path) -> None:
    def fail_midway() -> None:
        with TemplateWriter(tmp_path / "corrected", max_records=1) as writer:
            writer.append(frame_of([("a",) * 6, ("b",) * 6]))
            assert not (tmp_path / "corrected.csv").exists(), "no file has its name before all are whole"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_midway()
    assert list(tmp_path.iterdir()) == []


def test_frames_of_other_columns_are_refused_rather_than_shifted(tmp_path: Path) -> None:
    with TemplateWriter(tmp_path / "corrected") as writer:
        writer.append(frame_of([("a",) * 6]))
        with pytest.raises(ValueError, match="differ"):
            writer.append(frame_of([("b",) * 6]).rename({"payload_region": "payload_zone"}))
        writer.drop()


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    script = f"""
import resource, signal, polars as pl
from pathlib import Path
from workers.kernel.errors import InputUnusable
from workers.records.files.write import TemplateWriter
frame = pl.DataFrame({{"identifier": [str(n) for n in range(100_000)]}})
frame.write_csv()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
folder = Path({str(tmp_path)!r})
try:
    with TemplateWriter(folder / "corrected") as writer:
        writer.append(frame)
        writer.close()
except InputUnusable as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    (line,) = done.stdout.splitlines()
    assert line.split(": ")[1].startswith("cannot be written (")
    assert list(tmp_path.iterdir()) == []


def test_quarantine_keeps_the_senders_columns_by_their_own_names(tmp_path: Path) -> None:
    frame = read_all(b"Kunde,identifier,@row\ncus_1,a,x\n")
    columns = ["Kunde", "identifier", "@@row", "@source"]
    with CsvWriter(tmp_path / "quarantine.csv", columns, {"@source": "file"}) as writer:
        writer.append(frame)
        (written,) = writer.close()
    assert written.path.read_text() == "Kunde,identifier,@row,file\ncus_1,a,x,usage.csv\n"
