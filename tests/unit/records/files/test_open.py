"""A file that is misread as another encoding, delimiter or header bills the wrong thing for every row in it."""

import codecs
import gzip
import io
import json
import os
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest
import zstandard

from tests.unit.records.reading import HEADER, cells, read_all
from workers.kernel.errors import FileUnusable
from workers.offline.scan import find_facts
from workers.records.files import decode
from workers.records.files.layout import Format, Layout, Part, ReadOptions
from workers.records.files.open import open_file

ROWS = [("a", "1700000000", "calls", "cus_é", "1"), ("b", "1700000001", "calls", "cus_2", "0.10")]
CSV = "\n".join([HEADER, *(",".join(row) for row in ROWS)]) + "\n"
JSONL = "\n".join(
    json.dumps(
        {"identifier": i, "timestamp": int(t), "event_name": e, "payload": {"stripe_customer_id": c, "value": v}}
    )
    for i, t, e, c, v in ROWS
)


def layout_of(tmp_path: Path, data: bytes, name: str = "usage.csv", options: ReadOptions | None = None) -> Layout:
    path = tmp_path / name
    path.write_bytes(data)
    with open_file(path, options) as file:
        return file.layout


def slugs(layout: Layout) -> set[str]:
    return {finding.slug for finding in layout.findings}


def complaint(tmp_path: Path, data: bytes, name: str = "usage.csv", options: ReadOptions | None = None) -> str:
    with pytest.raises(FileUnusable) as caught:
        layout_of(tmp_path, data, name, options)
    return str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("text", [CSV, JSONL], ids=["csv", "jsonl"])
def test_every_encoding_and_line_end_gives_the_same_records(encoding: str, line_end: str, text: str) -> None:
    data = text.replace("\n", line_end).encode(encoding)
    assert cells(read_all(data, target=20)) == ROWS


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize("text", [CSV, JSONL, f"[{','.join(JSONL.splitlines())}]"], ids=["csv", "jsonl", "json"])
def test_packed_files_are_read_like_plain_ones(pack: object, text: str) -> None:
    assert callable(pack)
    half = len(text) // 2
    several_frames = pack(text[:half].encode()) + pack(text[half:].encode())
    assert cells(read_all(pack(text.encode()))) == ROWS
    assert cells(read_all(several_frames)) == ROWS


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    bomb = pack(bytes(300 << 20))
    assert "unpacks to more than 67,108,864 bytes" in complaint(tmp_path, bomb)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_packed_file_that_is_cut_off_is_no_shorter_file(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    packed = pack("".join(f"{i},{i * 7919 % 1000}\n" for i in range(50_000)).encode())
    assert "cannot be unpacked" in complaint(tmp_path, packed[: len(packed) // 2])


def test_no_copy_is_left_where_unpacking_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_PLAIN_BYTES", 10)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    assert "unpacks to more than 10 bytes" in complaint(tmp_path, gzip.compress(CSV.encode()))
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"\n \n", "it is empty"),
        (b"\xef\xbb\xbf\n", "it is empty"),
        (b"PK\x03\x04\x14\0\0\0\x08\0" * 20, "a ZIP archive - unpack it"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504),
            "an old Office file such as .xls",
        ),
        (b"PK\x03\x04" + bytes(26) + b"xl/workbook.bin", "a binary Excel workbook - save it as CSV or .xlsx"),
        (
            b"PK\x03\x04" + bytes(26) + b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet",
            "an OpenDocument spreadsheet - save it as CSV",
        ),
        (b"PK\x03\x04" + bytes(26) + b"word/document.xml", "a Word document"),
        (b"BZh91AY&SY" + bytes(9), "packed with bzip2 - unpack it"),
        (b"\xfd7zXZ\0" + bytes(9), "packed with xz - unpack it"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(9), "a 7-Zip archive - unpack it"),
        (b"usage.csv".ljust(257, b"\0") + b"ustar" + bytes(250), "a tar archive - unpack it"),
        (b"SQLite format 3\0" + bytes(84), "an SQLite database - export the table as CSV"),
        (b"ARROW1\0\0" + bytes(9), "an Arrow file - export it as CSV"),
        (b"Obj\x01" + bytes(9), "an Avro file - export it as CSV"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "a PDF document"),
        (bytes([7, 0, 9, 2]) * 100, "binary file"),
        (bytes(range(1, 32)) * 20, "binary file"),
        (b"<html><body>Not found</body></html>", "none of its columns"),
        (b"a1b2,1700000000,calls,cus_123,5\n", "is a record, not a header"),
        (b'"identifier,timestamp\n1,2\n', "header cannot be read"),
    ],
)
def test_a_file_that_is_no_usage_file_gets_one_clear_line(tmp_path: Path, data: bytes, words: str) -> None:
    text = complaint(tmp_path, data)
    assert text.startswith("usage.csv: ")
    assert words in text
    assert " - " in text, "it says how to mend it"
    assert len(text.splitlines()) == 1


def test_a_missing_file_and_a_folder_get_one_clear_line(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "absent.csv", "it does not exist"), (tmp_path, "it cannot be read")):
        with pytest.raises(FileUnusable, match=why):
            open_file(path)


def test_a_pipe_is_one_clear_error() -> None:
    """A file is gone through twice: `metermend check <(zcat usage.gz)` has to say so, not `None`."""
    end, start = os.pipe()
    os.close(start)
    try:
        with pytest.raises(FileUnusable, match="it is a pipe, no file that can be read twice"):
            open_file(Path(f"/dev/fd/{end}"))
    finally:
        os.close(end)


def test_a_parquet_file_is_named_for_what_it_is(tmp_path: Path) -> None:
    parquet = io.BytesIO()
    pl.DataFrame({"identifier": ["a1"]}).write_parquet(parquet)
    assert complaint(tmp_path, parquet.getvalue()) == "usage.csv: it is a Parquet file - export it as CSV"


def test_a_header_that_only_begins_like_another_kind_of_file_is_read(tmp_path: Path) -> None:
    assert layout_of(tmp_path, b"PAR1,timestamp,value\n1,2,3\n").columns == ("PAR1", "timestamp", "value")


def test_a_declared_encoding_that_does_not_fit_is_said_and_not_guessed_round(tmp_path: Path) -> None:
    assert "cannot be read as ascii" in complaint(tmp_path, CSV.encode(), options=ReadOptions(encoding="ascii"))
    assert "no known encoding" in complaint(tmp_path, CSV.encode(), options=ReadOptions(encoding="klingon"))


def test_bytes_that_could_be_utf8_are_not_taken_for_latin1(tmp_path: Path) -> None:
    mixed = f"{HEADER}\n".encode() + "é,1,c,d,e\n".encode() + b"\xe9,1,c,d,e\n"
    assert layout_of(tmp_path, mixed).encoding == "utf-8"
    windows = f"{HEADER}\n".encode() + b"\x93quoted\x94,1,c,d,e\n"
    assert layout_of(tmp_path, windows).encoding == "utf-8", "0x93 is a quote in cp1252 and a control in Latin-1"
    assert cells(read_all(windows, options=ReadOptions(encoding="cp1252")))[0][0] == "“quoted”"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_that_gives_known_columns(tmp_path: Path, delimiter: str) -> None:
    data = CSV.replace(",", delimiter).encode()
    layout = layout_of(tmp_path, data)
    assert layout.delimiter == delimiter
    assert ("delimiter" in slugs(layout)) == (delimiter != ",")
    assert cells(read_all(data)) == ROWS


@pytest.mark.parametrize(
    ("line", "sign"),
    [
        ("sep=;", ";"),
        ("SEP=;", ";"),
        ("sep=,", ","),
        ("sep=\t", "\t"),
        ("sep=|", "|"),
        ("sep=^", "^"),
        ("sep=~", "~"),
        ("sep=:", ":"),
        ('"sep=;"', ";"),
        ("sep=;;;;;", ";"),
        ('"sep=,",,,,', ","),
        ("sep=; ", ";"),
        ("sep=;", ","),
        ("\nsep=;", ";"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_line_that_tells_excel_the_delimiter_is_no_data(
    tmp_path: Path, line: str, sign: str, encoding: str
) -> None:
    """Taken for the header, it makes a file of sound records one that cannot be read."""
    for end in ("\n", "\r\n"):
        data = (f"{line}\n" + CSV.replace(",", sign)).replace("\n", end).encode(encoding)
        layout = layout_of(tmp_path, data)
        assert (layout.delimiter, "separator_line" in slugs(layout)) == (sign, True)
        assert cells(read_all(data, target=20)) == ROWS


def test_a_header_that_begins_like_that_line_is_a_header(tmp_path: Path) -> None:
    layout = layout_of(tmp_path, b"sep=;x;timestamp;event_name\na;1;calls\n")
    assert layout.columns == ("sep=", "x", "timestamp", "event_name")


def test_a_header_with_one_reading_is_renamed_and_said(tmp_path: Path) -> None:
    layout = layout_of(tmp_path, b"Identifier,Time-Stamp,eventName,customer_id,payload.tokens,note\na,1,c,d,e,f\n")
    assert layout.renames == {
        "Identifier": "identifier",
        "Time-Stamp": "timestamp",
        "eventName": "event_name",
        "customer_id": "payload_stripe_customer_id",
        "payload.tokens": "payload_tokens",
    }
    assert "header_renamed" in slugs(layout)


def test_a_header_with_two_readings_is_left_alone_and_said(tmp_path: Path) -> None:
    layout = layout_of(tmp_path, b"identifier,timestamp,event_name,customer_id,Stripe Customer ID,payload_value\n")
    assert layout.renames == {}
    assert "header_ambiguous" in slugs(layout)


def test_an_exact_header_wins_over_its_synonyms(tmp_path: Path) -> None:
    layout = layout_of(tmp_path, b"identifier,timestamp,event_name,payload_stripe_customer_id,customer_id\n")
    assert layout.renames == {}
    assert "header_ambiguous" not in slugs(layout)


def test_a_payload_column_of_another_name_is_never_renamed(tmp_path: Path) -> None:
    layout = layout_of(tmp_path, b"identifier,timestamp,event_name,payload_customer_id,payload_value\n")
    assert layout.renames == {}, "a meter may well map customers by customer_id"


def test_a_declared_header_wins(tmp_path: Path) -> None:
    options = ReadOptions(headers={"kunde": "payload_stripe_customer_id"})
    layout = layout_of(tmp_path, b"kunde;zeit\ncus_1;5\n", options=options)
    assert layout.renames == {"kunde": "payload_stripe_customer_id"}
    assert {"header_declared", "header_missing"} <= slugs(layout)


def test_repeated_and_reserved_headers_lose_no_column() -> None:
    frame = read_all(b"identifier,note,note,,@row,identifier\na,1,2,3,4,5\n")
    row = frame.to_dicts()[0]
    assert {k: row[k] for k in ("identifier", "note", "note#2", "#1", "@@row", "identifier#2")} == {
        "identifier": "a", "note": "1", "note#2": "2", "#1": "3", "@@row": "4", "identifier#2": "5",
    }  # fmt: skip
    assert row["@row"] == 1


@pytest.mark.parametrize("column", ["timestamp", "event_name", "payload_stripe_customer_id", "payload_value"])
def test_of_two_columns_for_what_is_billed_neither_is_read(tmp_path: Path, column: str) -> None:
    """The first of two quantities would be billed, though the second may be the one that is meant."""
    text = CSV.replace("\n", ",other\n").replace("other", column, 1).encode()
    frame = read_all(text)
    assert column not in frame.columns or frame[column].is_null().all()
    assert {f"{column}#1", f"{column}#2"} <= set(frame.columns)
    assert "header_repeated" in slugs(layout_of(tmp_path, text))


def test_what_stripe_would_refuse_in_the_file_itself_is_found(tmp_path: Path) -> None:
    assert "wrong_extension" in slugs(layout_of(tmp_path, JSONL.encode(), "usage.csv"))
    assert "byte_order_mark" in slugs(layout_of(tmp_path, codecs.BOM_UTF8 + CSV.encode()))
    assert "compressed" in slugs(layout_of(tmp_path, gzip.compress(CSV.encode())))
    assert "name_too_long" in slugs(layout_of(tmp_path, CSV.encode(), "u" * 251 + ".csv"))
    assert slugs(layout_of(tmp_path, CSV.encode())) == set()


def test_the_content_decides_the_format_unless_it_is_declared(tmp_path: Path) -> None:
    assert layout_of(tmp_path, JSONL.encode(), "usage.csv").format is Format.JSONL
    assert layout_of(tmp_path, f" [{JSONL.splitlines()[0]}]".encode(), "usage.csv").format is Format.JSON
    declared = layout_of(
        tmp_path, b"[identifier]\n", options=ReadOptions(format=Format.CSV, headers={"[identifier]": "identifier"})
    )
    assert declared.format is Format.CSV


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(CSV)
    with open_file(path) as file:
        parts = list(file.parts())
        path.write_text(CSV.replace("1\nb", "1 b"))
        with pytest.raises(FileUnusable, match="has changed"):
            file.read(parts[0])


def test_a_part_survives_being_a_message(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(CSV)
    with open_file(path) as file:
        for part in file.parts(10):
            assert Part(**json.loads(json.dumps(asdict(part)))) == part


def test_a_header_of_too_many_columns_is_refused_at_once(tmp_path: Path) -> None:
    """Each of 20,000 columns costs time for every other one."""
    data = (
        ",".join([HEADER, *(f"payload_k{number}" for number in range(20_000))]).encode() + b"\na,1,calls,cus_1,1\n"
    )
    for options in (None, ReadOptions(headers={"payload_k1": "identifier"})):
        told = complaint(tmp_path, data, options=options)
        assert told.startswith("usage.csv: its header has 20,005 columns; at most 500 can be read")


@pytest.mark.parametrize("data", [CSV.encode(), JSONL.encode(), gzip.compress(CSV.encode()), CSV.encode("utf-16")])
def test_no_room_for_temporary_files_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    path = tmp_path / "usage.csv"
    path.write_bytes(data)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(FileUnusable) as caught, open_file(path) as file:
        find_facts([file])
    assert "no temporary file can be written in" in str(caught.value)
    assert "set TMPDIR" in str(caught.value)
