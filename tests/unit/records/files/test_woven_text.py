"""Most records of a file go out as text that nobody looks at again: each must stand where it stood, once."""

import tempfile
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.kernel.errors import FileUnusable
from workers.offline.scan import find_facts
from workers.records.files.open import open_file
from workers.records.files.stripe_formats import TEMPLATES, csv_rows
from workers.records.schema import ROW, TEMPLATE_COLUMNS

COLUMNS = [*TEMPLATE_COLUMNS, "payload_note"]
CELL = st.one_of(
    st.none(),
    st.sampled_from(["a", "1", "x,y", 'say "so"', "two\nlines", "\n", " ", "é", '"', "-0.5"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1, max_size=5),
)
ROWS = st.lists(st.tuples(st.booleans(), *[CELL] * len(COLUMNS)), max_size=12)
WIDTHS = st.integers(1, 200)


def frame_of(rows: list[tuple[str | None, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")


@given(ROWS, st.sampled_from(sorted(TEMPLATES)))
def test_sound_records_and_others_woven_together_are_the_text_of_all(
    rows: list[tuple[bool, ...]], file_format: str
) -> None:
    """A record that loses its place, or its neighbour, is a customer billed twice or not at all."""
    template = TEMPLATES[file_format]
    sound = pl.Series([bool(row[0]) for row in rows], dtype=pl.Boolean)
    frame = frame_of([row[1:] for row in rows])  # type: ignore[misc]
    lazy = frame.lazy()
    text, [others] = template.collect(lazy.filter(sound), [lazy.filter(~sound)])
    repaired = template.records(template.rows(others)) if others.height else []
    before, nothing = sound.cum_sum().filter(~sound), [b""] * others.height
    whole = template.rows(frame) if rows else b""
    assert template.woven(text, before, repaired) == whole
    assert template.woven(text, before, nothing) == text
    places = (~sound).arg_true()
    assert template.woven(whole, places, nothing, over=True) == text
    assert template.woven(whole, places, repaired, over=True) == whole


def test_each_place_wants_its_record() -> None:
    """One too few, and a faulty record would go out as it was, or a repaired one not at all."""
    for others in ([b"x\n"], [b"x\n"] * 3):
        with pytest.raises(ValueError, match="argument"):
            TEMPLATES["csv"].woven(b"a\nb\n", pl.Series([0, 1]), others)


@given(ROWS.filter(bool), st.sampled_from(sorted(TEMPLATES)))
def test_text_comes_apart_into_its_records(rows: list[tuple[bool, ...]], file_format: str) -> None:
    template = TEMPLATES[file_format]
    frame = frame_of([row[1:] for row in rows])  # type: ignore[misc]
    taken_apart = template.records(template.rows(frame))
    assert taken_apart == [template.rows(frame[place]) for place in range(frame.height)]


class Seen:
    """What was made of a part."""

    def __init__(self, records: pl.LazyFrame) -> None:
        self.frame = records.collect(engine="streaming")

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
