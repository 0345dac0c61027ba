"""A CSV record read wrongly is a customer billed wrongly; one that is dropped is revenue lost."""

import csv
import io
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.records.reading import HEADER, cells, read_all, unreadable
from workers.kernel.errors import FileUnusable
from workers.records.files import split
from workers.records.files.csv_grammar import quoted_lines
from workers.records.files.layout import ReadOptions
from workers.records.schema import IDENTIFIER, ROW, SOURCE, VALUE

TEXT = st.text(
    st.one_of(
        st.sampled_from(list("\",;\t|\n\r'ab01 .-\ufeff\x1f\\#")),
        st.characters(exclude_categories=["Cs", "Cc"]),
    ),
    max_size=8,
)
PARTS = st.sampled_from([1, 3, 17, 64, 1 << 20])


def table(rows: list[list[str]], **dialect: object) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows([HEADER.split(","), *rows])  # type: ignore[arg-type]
    return text.getvalue().encode()


@given(
    rows=st.lists(st.lists(TEXT, min_size=5, max_size=5), min_size=1, max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    lineterminator=st.sampled_from(["\n", "\r\n"]),
    target=PARTS,
)
@example([["\ufeffa", "1", "b", "c", "d"]] * 3, ",", csv.QUOTE_MINIMAL, "\n", 1)
@example([["", "", "", "", '"']], ",", csv.QUOTE_ALL, "\n", 1)
def test_reads_what_pythons_csv_wrote(
    rows: list[list[str]], delimiter: str, quoting: int, lineterminator: str, target: int
) -> None:
    if lineterminator == "\n":  # Python's writer leaves a bare \r unquoted there, which is no CSV
        rows = [[field.replace("\r", "") for field in row] for row in rows]
    data = table(rows, delimiter=delimiter, quoting=quoting, lineterminator=lineterminator)
    expected = [tuple(field or None for field in row) for row in rows]
    assert cells(read_all(data, target=target, options=ReadOptions(delimiter=delimiter))) == expected


@given(lines=st.lists(st.text('",ab1\r \n', max_size=14), max_size=12), target=PARTS)
@example(['a,b,c,d,"x', 'y",b,c,d,e', "1,2,3,4,5"], 1)
@example(["", " ", ",,,,", '"",,,,'], 1)
def test_loses_no_character_of_a_broken_file_whatever_the_part_size(lines: list[str], target: int) -> None:
    body = "\n".join(lines)
    whole = read_all(f"{HEADER}\n{body}".encode())
    seen = "".join(
        text or "" for row in [*cells(whole), *((raw,) for _, _, raw in unreadable(whole))] for text in row
    )
    assert Counter(c for c in seen if c.isalnum()) == Counter(c for c in body if c.isalnum())
    assert read_all(f"{HEADER}\n{body}".encode(), target=target).equals(whole)


@given(st.binary(max_size=200), st.booleans(), PARTS)
@example(b"x\x01\x01\x01\x01\x01", True, 1)
@example(b"x^1,1,1,1,1\nx^2,1,1,1,1\n", True, 1)
def test_any_bytes_give_rows_or_one_clear_error(data: bytes, with_header: bool, target: int) -> None:
    data = HEADER.encode() + b"\n" + data if with_header else data
    complaint = ""
    try:
        read_all(data, target=target)
    except FileUnusable as error:
        complaint = str(error)
    assert not complaint or (complaint.startswith("usage.csv: ") and len(complaint.splitlines()) == 1)


@given(st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), min_size=1, max_size=4), PARTS)
def test_flipped_bytes_never_lose_a_line(flips: list[tuple[int, int]], target: int) -> None:
    body = bytearray(b"".join(b'id%d,1700000000,calls,"cus_%d",%d\n' % (i, i, i) for i in range(6)))
    for at, byte in flips:
        body[at % len(body)] = byte or 1
    try:
        frame = read_all(
            HEADER.encode() + b"\n" + bytes(body), target=target, options=ReadOptions(encoding="utf-8")
        )
    except FileUnusable as error:
        pytest.fail(f"the header was fine, yet: {error}")
    lines = [line for line in bytes(body).split(b"\n") if line.strip(b"\r")]
    spanned = sum((raw or "").count("\n") for _, _, raw in unreadable(frame))
    in_fields = sum((text or "").count("\n") for row in cells(frame) for text in row)
    assert frame.height + spanned + in_fields >= len(lines)


def test_a_short_row_beside_a_long_one_is_told_apart() -> None:
    frame = read_all(f"{HEADER}\na,1,c\nb,1,c,cus_1,5,6,7\nd,1,c,cus_1,5\n".encode())
    assert unreadable(frame) == [(1, "wrong_column_count", "a,1,c"), (2, "wrong_column_count", "b,1,c,cus_1,5,6,7")]
    assert cells(frame)[2] == ("d", "1", "c", "cus_1", "5")


def test_a_stray_quote_does_not_swallow_the_rows_behind_it() -> None:
    frame = read_all(f'{HEADER}\na,1,c,"cus_1,5\nb,1,c,cus_1,5\nc,1,"c"x,cus_1,5\nd,1,5" pipe,cus_1,5\n'.encode())
    assert unreadable(frame) == [(1, "unclosed_quote", 'a,1,c,"cus_1,5'), (3, "stray_quote", 'c,1,"c"x,cus_1,5')]
    assert cells(frame)[3] == ("d", "1", '5" pipe', "cus_1", "5")


def test_an_unclosed_quote_gives_up_after_a_mebibyte_and_not_at_the_end_of_the_file() -> None:
    body = 'a,1,c,"cus_1,5\n' + "b,1,c,cus_1,5\n" * 200_000
    frame = read_all(f"{HEADER}\n{body}".encode(), target=1 << 20)
    assert frame.height == 200_001
    assert unreadable(frame) == [(1, "unclosed_quote", 'a,1,c,"cus_1,5')]


def test_a_record_across_the_cutters_blocks_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "BLOCK", 100)
    rows = [[f"id{i}", "1", "line one\nline two, and\n\nfour", "cus_1", str(i)] for i in range(50)]
    frame = read_all(table(rows), target=40)
    assert cells(frame) == [tuple(row) for row in rows]


def test_bytes_that_are_no_utf8_spoil_their_row_only() -> None:
    data = f"{HEADER}\né,1,c,cus_1,5\n".encode() + b"\xff,1,c,cus_1,6\n"
    frame = read_all(data)
    assert unreadable(frame) == [(2, "not_utf8", "\\xff,1,c,cus_1,6")]
    assert frame[IDENTIFIER][0] == "é"


def test_numbers_stay_the_text_they_are() -> None:
    values = ["007", "1.10", "9007199254740993", "1e3", " 5 ", "1,234", "-0", "٣"]
    frame = read_all(table([["a", "1", "c", "cus_1", value] for value in values]))
    assert frame[VALUE].to_list() == values


def test_blank_lines_are_no_records_and_do_not_shift_row_numbers() -> None:
    frame = read_all(f"\n{HEADER}\r\n\r\na,1,c,d,e\r\n\r\n\r\nb,1,c,d\r\n".encode())
    assert frame.select(IDENTIFIER, ROW, SOURCE).rows()[0] == ("a", 1, "usage.csv")
    assert unreadable(frame) == [(2, "wrong_column_count", "b,1,c,d")]


@pytest.mark.parametrize("data", [HEADER.encode(), f"{HEADER}\n".encode(), f"{HEADER}\r\n\r\n".encode()])
def test_a_header_alone_is_a_file_without_records(data: bytes) -> None:
    assert read_all(data).height == 0


def test_a_file_without_line_ends_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "BLOCK", 100)
    monkeypatch.setattr(split, "MAX_LINE_BYTES", 1000)
    with pytest.raises(FileUnusable, match="a line of it, at byte 73, is longer than 1,000 bytes"):
        read_all(f"{HEADER}\n{'x' * 5000}".encode())
    assert read_all(f"{HEADER}\n{'x' * 300},1,c,d,e\n".encode()).height == 1


def test_a_field_beyond_any_usage_field_is_a_row_for_a_person() -> None:
    frame = read_all(f'{HEADER}\na,1,"x\n{"y" * 200_000}",d,e\nb,1,c,d,e\n'.encode())
    assert [(row, reason) for row, reason, _ in unreadable(frame)] == [(1, "too_long")]
    assert frame.height == 2


def test_a_table_of_many_columns_is_read_without_the_grammar() -> None:
    header = ["identifier", *(f"payload_k{i}" for i in range(90))]
    row = ["a", *(str(i) for i in range(89)), 'x "y"']
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, row, [*row[:-1], "z"]])
    assert [line[90] for line in read_all(text.getvalue().encode()).rows()] == ['x "y"', "z"]


@pytest.mark.parametrize("beginning", ["x^", "x\x01", "(\xb5", "\ufeff"])
def test_a_part_may_begin_as_a_packed_file_does(beginning: str) -> None:
    """Polars would unpack it; an identifier may look like that, wherever the file is cut."""
    body = "".join(f"{beginning}{number},1,calls,cus_1,{number}\n" for number in range(5))
    frame = read_all(f"{HEADER}\n{body}".encode(), target=1)
    assert frame["identifier"].to_list() == [f"{beginning}{number}" for number in range(5)]


@given(st.lists(st.sampled_from(["a,b", '"a",b', '"","a ""b"""']), max_size=9), st.integers(0, 9))
def test_the_lines_that_have_quotes_are_found_unless_they_are_many(lines: list[str], most: int) -> None:
    """One that is overlooked goes out in the sender's quotes, another one of its neighbours twice."""
    quoted = [number for number, line in enumerate(lines) if '"' in line]
    text = "".join(f"{line}\n" for line in lines).encode()
    assert quoted_lines(text, most) == (quoted if len(quoted) <= most else None)
