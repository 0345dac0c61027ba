"""A look opens the rows that may be at fault, and finds what judging every row would.

If these fail, refused records are never found, or so few are predicted that the number seems right and others go.
"""

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tests.unit.remedies.frames import EPOCH_NOW, NOW
from workers.pipeline.locate.predict import PREDICTED, Prediction
from workers.records.catalog import Meter
from workers.records.schema import ROW
from workers.sources import Candidate, StoredUsageSources
from workers.sources.files import SourceFile
from workers.sources.index import ConvertedFiles

TOKENS, CALLS, GONE = Meter("tokens"), Meter("calls", id="mtr_2"), Meter("gone", active=False)
OWN_KEYS = Meter("own", customer_column="payload_account", value_column="payload_amount")
BY_REGION = Meter("regional", dimensions=("payload_region", "payload_zone"))
METERS = (TOKENS, CALLS, GONE, OWN_KEYS, BY_REGION)
DAY = 86_400

IDS = st.sampled_from(["a", "", "i" * 100, "i" * 101, "\u00e9" * 60])
TIMES = st.sampled_from(
    [EPOCH_NOW, EPOCH_NOW + 300, EPOCH_NOW + 301, EPOCH_NOW - 35 * DAY, EPOCH_NOW - 35 * DAY - 1, EPOCH_NOW * 1000]
).map(str) | st.sampled_from(["", "+123456789", "-123456789", " 179526240", "2026-11-21", "999999999"])
CUSTOMERS = st.sampled_from(["cus_1", "cus_2", "cus_gone", " cus_1", '"cus_1"', "", " "])
VALUES = st.sampled_from(
    ["1", "1.5", "1,5", " 1", "", "x", "1e3", "-2", "+2", "1" * 15, "1" * 16, "1.23456789012345", "0." + "1" * 15]
)
REGIONS = st.sampled_from(["eu", "", " "])
COLUMNS = {
    "identifier": IDS,
    "timestamp": TIMES,
    "event_name": st.sampled_from([meter.event_name for meter in METERS] + ["nobody"]),
    "payload_stripe_customer_id": CUSTOMERS,
    "payload_value": VALUES,
    "payload_account": CUSTOMERS,
    "payload_amount": VALUES,
    "payload_region": REGIONS,
    "payload_zone": REGIONS,
}
SOUND = {
    "identifier": "a",
    "timestamp": str(EPOCH_NOW),
    "payload_region": "eu",
    "payload_zone": "1",
    **dict.fromkeys(("payload_stripe_customer_id", "payload_account"), "cus_1"),
    **dict.fromkeys(("payload_value", "payload_amount"), "1.5"),
}


@st.composite
def files(draw: st.DrawFn) -> list[dict[str, str]]:
    """Rows that differ from sound ones in a few columns, all in the same; some columns are in no row."""
    changed = draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=4, unique=True))
    texts = st.fixed_dictionaries({name: COLUMNS[name] for name in changed})
    name = draw(COLUMNS["event_name"])
    rows = [{**SOUND, "event_name": name, **row} for row in draw(st.lists(texts, min_size=1, max_size=12))]
    absent = draw(st.sets(st.sampled_from(list(COLUMNS)[3:]), max_size=1))
    return [{column: text for column, text in row.items() if column not in absent} for row in rows]


predictions = st.builds(
    Prediction,
    st.sampled_from(METERS),
    st.just(METERS),
    st.sampled_from([NOW, NOW + timedelta(seconds=1), NOW - timedelta(days=1)]),
    st.just(NOW),
    st.sampled_from([None, pl.Series(["cus_1", "cus_2"]), pl.Series(["cus_1"]), pl.Series([], dtype=pl.String)]),
)


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        lines = csv.DictWriter(file, list(rows[0]))
        lines.writeheader()
        lines.writerows(rows)


def judged(prediction: Prediction, parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    return prediction.refused(pl.concat(parts, how="diagonal"))


def assert_the_same(sources: StoredUsageSources, uploads: Sequence[Candidate], prediction: Prediction) -> None:
    assert prediction.meter is not None
    name = prediction.meter.event_name
    all_rows = [rows for file in uploads for rows in sources.rows_of(file, [name])]
    few_rows = [rows for file in uploads for rows in sources.doubtful(file, name, prediction.standard)]
    if all_rows:
        plain = judged(prediction, all_rows)
        assert_frame_equal(judged(prediction, few_rows).select(plain.columns), plain)
        named = [customer for file in uploads for customer in sources.customers(file, name, prediction.catalog)]
        assert set(named) == set(prediction.customers_of(pl.concat(all_rows, how="diagonal")))


@given(st.lists(files(), min_size=1, max_size=20), st.lists(predictions, min_size=1, max_size=5))
def test_the_doubtful_rows_are_judged_as_all_rows_are(
    uploads: list[list[dict[str, str]]], asked: list[Prediction]
) -> None:
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as small:
        small.setattr("workers.sources.index._PART_BYTES", 400)
        (folder := Path(name, "usage")).mkdir()
        for number, rows in enumerate(uploads):
            write(folder / f"{number}.csv", rows)
        sources = StoredUsageSources([str(folder)], Path(name, "cache"))
        found = sources.candidates(None, NOW - timedelta(days=3650), NOW + timedelta(days=3650))
        for prediction in asked:
            assert_the_same(sources, found.files, prediction)


SECONDS = (EPOCH_NOW + 300, EPOCH_NOW + 301, EPOCH_NOW - 35 * DAY, EPOCH_NOW - 35 * DAY - 1)
EDGES = {
    "timestamp": [*map(str, SECONDS), "+123456789"],
    "identifier": ["i" * 100, "i" * 101],
    "payload_account": ["cus_gone", " cus_1", ""],
    "payload_amount": ["1" * 15, "1" * 16, " 1", ""],
    "payload_region": ["", "  "],
}


@pytest.mark.parametrize("meter", [OWN_KEYS, BY_REGION])
def test_a_file_with_one_edge_in_it_is_looked_into_where_it_must_be(tmp_path: Path, meter: Meter) -> None:
    """One row beyond an edge is refused although all else in its file is in order."""
    (tmp_path / "usage").mkdir()
    sound = {**SOUND, "event_name": meter.event_name}
    for column, texts in EDGES.items():
        for number, text in enumerate(texts):
            write(tmp_path / "usage" / f"{column}-{number}.csv", [sound, {**sound, column: text}])
        without = {name: text for name, text in sound.items() if name != column}
        write(tmp_path / "usage" / f"no-{column}.csv", [without])
    sources = StoredUsageSources([str(tmp_path / "usage")], tmp_path / "cache")
    found = sources.candidates(None, NOW - timedelta(days=3650), NOW + timedelta(days=3650))
    assert len(found.files) > len(EDGES) + 12
    for customers in (None, pl.Series(["cus_1"])):
        assert_the_same(sources, found.files, Prediction(meter, METERS, NOW, NOW, customers))


@pytest.fixture
def one_bad_row(tmp_path: Path) -> tuple[StoredUsageSources, Candidate]:
    (tmp_path / "usage").mkdir()
    rows = [{**SOUND, "event_name": "tokens", "payload_value": text} for text in ("1", "2", "x", "3")]
    write(path := tmp_path / "usage" / "a.csv", rows)
    os.utime(path, (EPOCH_NOW, EPOCH_NOW))
    sources = StoredUsageSources([str(path.parent)], tmp_path / "cache", clock=lambda: NOW)
    [file] = sources.candidates(["tokens"], NOW - timedelta(days=1), NOW).files
    return sources, file


def test_once_a_file_was_looked_into_its_sound_rows_stay_shut(
    one_bad_row: tuple[StoredUsageSources, Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each look at ten million sound rows reads them all."""
    sources, file = one_bad_row
    everyone = Prediction(TOKENS, METERS, NOW, NOW, pl.Series(["cus_1"]))
    list(sources.doubtful(file, "tokens", everyone.standard))
    opened: list[int] = []
    rows = ConvertedFiles.rows

    def noted(converted: ConvertedFiles, file: SourceFile, number: int, wanted: pl.Expr) -> pl.DataFrame:
        opened.append(number)
        return rows(converted, file, number, wanted)

    monkeypatch.setattr(ConvertedFiles, "rows", noted)
    [part] = sources.doubtful(file, "tokens", everyone.standard)
    assert part[ROW].to_list() == [3]
    assert not opened
    nobody = replace(everyone, customers=pl.Series([], dtype=pl.String))
    [part] = sources.doubtful(file, "tokens", nobody.standard)
    assert part.height == 4
    assert opened


def test_what_was_kept_for_other_keys_of_a_meter_is_not_used(
    one_bad_row: tuple[StoredUsageSources, Candidate],
) -> None:
    """Its owner may let a meter read another column at any time."""
    sources, file = one_bad_row
    for column, bad in (("payload_amount", 0), ("payload_value", 1)):
        meter = replace(TOKENS, value_column=column)
        prediction = Prediction(meter, (meter,), NOW, NOW, pl.Series(["cus_1"]))
        [part] = map(prediction.refused, sources.doubtful(file, "tokens", prediction.standard))
        assert part.select(PREDICTED).height == bad
