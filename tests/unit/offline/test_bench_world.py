"""The bench's files, small: three shapes of the same records come to the same plan, or one of them is misread."""

from pathlib import Path

import polars as pl
import pytest

from bench.generate import NOW, World, make_world
from tests.unit.records.reading import read_all
from workers.kernel.codes import Code
from workers.offline.repair_files import PlanSummary, plan_file
from workers.offline.survey import PlanOptions
from workers.records.catalog import Catalog, load_customers, load_meters
from workers.records.schema import READER_COLUMNS
from workers.remedies.rules import load_rules


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("bench"), 3000)


def plan(world: World, shape: str, out: Path, part_bytes: int) -> PlanSummary:
    catalog = Catalog(load_meters(world.meters), load_customers(world.customers))
    options = PlanOptions(part_bytes=part_bytes)
    rules = load_rules(world.rules)
    return plan_file(world.usage(shape), catalog=catalog, rules=rules, now=NOW, out=out, options=options)


def test_the_three_shapes_hold_the_same_records(world: World) -> None:
    frames = {
        shape: read_all(world.usage(shape).read_bytes(), world.usage(shape).name, target=100_000)
        for shape in ("csv", "jsonl", "json")
    }
    cells = {shape: frame.select(pl.exclude(READER_COLUMNS)) for shape, frame in frames.items()}
    assert cells["csv"].equals(cells["jsonl"])
    assert cells["csv"].equals(cells["json"])


def test_shape_and_part_size_change_no_file_of_the_plan(world: World, tmp_path: Path) -> None:
    runs = [("csv", 1 << 20), ("csv", 60_000), ("jsonl", 150_000), ("json", 1 << 20)]
    summaries = [plan(world, shape, tmp_path / f"{shape}-{size}", size) for shape, size in runs]
    assert len({str(summary.outcomes.as_json()) for summary in summaries}) == 1
    for name in ("corrected.csv", "deferred.csv", "quarantine.csv"):
        written = [(tmp_path / f"{shape}-{size}" / name, world.usage(shape).name.encode()) for shape, size in runs]
        assert len({path.read_bytes().replace(source, b"") for path, source in written}) == 1


def test_every_code_is_among_the_faults(world: World, tmp_path: Path) -> None:
    found = set(plan(world, "csv", tmp_path / "plan", 1 << 20).outcomes.as_json()["by_code"])
    without_example = {Code.DIMENSION_COUNT_TOO_HIGH}  # Stripe does not tell the limit
    assert set(Code) - without_example <= found
