"""Most records of a file go out as text that nobody looks at again: each must stand where it stood, once."""

import csv
import io
import tempfile
from dataclasses import replace
from itertools import compress
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.records.reading import cells
from workers.kernel.errors import FileUnusable
from workers.offline.scan import find_facts
from workers.records.files import lines as line_places
from workers.records.files.csv_grammar import requoted
from workers.records.files.gapped_text import GappedText, Lines, Written
from workers.records.files.open import open_file
from workers.records.files.reading import Reading
from workers.records.files.stripe_formats import GAP, TEMPLATES, csv_rows
from workers.records.schema import ROW, TEMPLATE_COLUMNS

COLUMNS = [*TEMPLATE_COLUMNS, "payload_note"]
CELL = st.one_of(
    st.none(),
    st.sampled_from(["a", "1", GAP, f"{GAP},,,,,", "x,y", 'say "so"', "two\nlines", " ", "é", '"', "-0.5"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1, max_size=5),
)
ROWS = st.lists(st.tuples(st.booleans(), *[CELL] * len(COLUMNS)), max_size=12)
WIDTHS = st.integers(1, 200)


def frame_of(rows: list[tuple[str | None, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")


def text_of(gapped: GappedText, fillings: list[bytes]) -> bytes:
    return b"".join(gapped.filled(fillings))


@given(ROWS, st.sampled_from(sorted(TEMPLATES)))
@example([(True, GAP, *[None] * 5), (False, "a", *[None] * 5), (True, GAP * 2, *[None] * 5)], "csv")
def test_text_with_its_gaps_filled_is_the_text_of_all_records(
    rows: list[tuple[bool, ...]], file_format: str
) -> None:
    """A gap that is taken for a record, or a record for a gap, is a customer billed twice or not at all."""
    template = TEMPLATES[file_format]
    kept, frame = [bool(row[0]) for row in rows], frame_of([row[1:] for row in rows])  # type: ignore[misc]
    gapped, (left_out,) = template.with_gaps(
        Reading(frame.with_columns(pl.Series("kept", kept, dtype=pl.Boolean)).lazy()),
        [pl.col(name) for name in COLUMNS],
        "kept",
        lambda records: [records.filter(~pl.col("kept")).select(COLUMNS)],
    )
    fillings = template.records(template.rows(left_out)) if left_out.height else []
    assert left_out.height == kept.count(False)
    assert text_of(gapped, fillings) == (template.rows(frame) if rows else b"")
    assert text_of(gapped, [b""] * len(fillings)) == b"".join(
        compress(template.records(template.rows(frame)), kept)
    )


@given(ROWS.filter(bool), st.sampled_from(sorted(TEMPLATES)))
def test_text_comes_apart_into_its_records(rows: list[tuple[bool, ...]], file_format: str) -> None:
    template = TEMPLATES[file_format]
    frame = frame_of([row[1:] for row in rows])  # type: ignore[misc]
    taken_apart = template.records(template.rows(frame))
    assert taken_apart == [template.rows(frame[place]) for place in range(frame.height)]


@given(ROWS.filter(bool), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]))
def test_lines_have_the_quotes_that_they_would_be_written_with(rows: list[tuple[bool, ...]], quoting: int) -> None:
    """Otherwise the bytes of a corrected file would hang on where its source was cut."""
    lines = [tuple(cell and str(cell).replace("\n", " ") for cell in row[1:]) for row in rows]
    text = io.StringIO()
    csv.writer(text, quoting=quoting, lineterminator="\n").writerows(lines)  # type: ignore[arg-type]
    assert requoted(text.getvalue().encode()) == csv_rows(frame_of(lines))  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.booleans(), st.text("ab,é", max_size=9)), max_size=20), st.integers(1, 9))
def test_the_lines_between_the_gaps_stay(rows: list[tuple[bool, str]], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_places, "BLOCK", block)
        gaps = [place for place, (kept, _) in enumerate(rows) if not kept]
        text = "".join(f"{line}\n" for _, line in rows).encode()
        lines = Lines(lambda: text, len(rows), gaps)
        filled = text_of(lines, [f"<{gap}>\n".encode() for gap in gaps])
    expected = [f"{line}\n" if kept else f"<{place}>\n" for place, (kept, line) in enumerate(rows)]
    assert filled.decode() == "".join(expected)


@given(st.text('"a', max_size=9), st.integers(0, 9))
def test_signs_are_counted_as_far_as_it_matters(text: str, most: int) -> None:
    assert line_places.has_at_most(text.encode(), b'"', most) == (text.count('"') <= most)


def test_lines_that_are_not_one_a_record_are_never_sent() -> None:
    with pytest.raises(ValueError, match="2 records stand in 3 lines"):
        Lines(lambda: b"a\nb\nc\n", 2, [0]).filled([b""])


def test_each_gap_wants_its_filling() -> None:
    """One filling too few, and a faulty record would go out as it was, or a repaired one not at all."""
    for gapped in (Lines(lambda: b"a\nb\n", 2, [0, 1]), Written([b"a\n", b"", b"b\n"])):
        for fillings in ([b"x\n"], [b"x\n"] * 3):
            with pytest.raises(ValueError, match="argument"):
                gapped.filled(fillings)


def test_text_in_pieces_knows_what_it_holds() -> None:
    assert Written([b"ab", b"", b"c"]).held == 3
    assert Lines(lambda: b"a\n", 1, []).held == 0


class Seen:
    """What was made of a part."""

    def __init__(self, reading: Reading) -> None:
        self.frame = reading.records.collect(engine="streaming")
        self.lines = None if reading.lines is None else reading.lines.read()

    @property
    def records(self) -> int:
        return self.frame.height


def test_a_part_that_has_not_the_records_that_were_counted_is_refused(tmp_path: Path) -> None:
    """The numbers of all rows behind it would be wrong, and with them the fault of each."""
    path = tmp_path / "usage.csv"
    path.write_text("identifier,timestamp,event_name\na,1,b\nc,2,d\n")
    with open_file(path) as file:
        [part] = file.parts()
        for rows in (1, 3):
            with pytest.raises(FileUnusable, match="has changed"):
                file.work_through(replace(part, rows=rows), file.header_columns, Seen)


def written(row: tuple[str, ...]) -> str:
    return csv_rows(pl.DataFrame([row], orient="row")).decode().removesuffix("\n")


WELL_FORMED = st.tuples(*[st.sampled_from(["a", "b c", "é", "x,y", 'say "so"', "two\nlines"])] * 3).map(written)
ODD = st.sampled_from(
    ["", "a,b", "a,b,c,d", 'st"ray,b,c', '"open,b,c', "a,b,\xff", '"","",""', "a\r,b,c", "a,b,c\r", ",,"]
)
FILES = st.lists(WELL_FORMED | ODD, max_size=12)


@given(FILES, WIDTHS, st.booleans())
def test_what_is_worked_on_while_it_is_read_is_what_is_read(lines: list[str], target: int, closed: bool) -> None:
    """A short line, a stray quote or bytes that are no text must not shift, drop or double a record."""
    text = "\n".join(["identifier,timestamp,event_name", *lines]) + ("\n" if closed else "")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "usage.csv"
        path.write_bytes(text.encode("latin-1"))
        with open_file(path) as file:
            [facts] = find_facts([file], target)
            for part in facts.parts:
                seen = file.work_through(part, facts.columns, Seen)
                frame = file.read(part, facts.columns)
                assert seen.frame.equals(frame)
                assert seen.frame[ROW].to_list() == list(range(part.first_row, part.first_row + part.rows))
                if seen.lines is not None:
                    rows = csv.reader(io.StringIO(seen.lines.decode(), newline=""))
                    assert [tuple(cell or None for cell in row) for row in rows] == cells(frame)
