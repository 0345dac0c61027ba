"""What is measured, each in a process of its own: `python -m bench.tasks TASK FOLDER RECORDS SHAPE`.

Prints the seconds that the work took as JSON, by the clock and of the processors, without the interpreter's start.
The parent reads the peak of resident memory from the operating system when the process has ended.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import polars as pl
from polars._typing import PolarsDataType

from bench.generate import NOW, World
from workers.offline.repair_files import plan_file
from workers.offline.scan import find_facts, in_order
from workers.offline.survey import PlanOptions
from workers.records.catalog import Catalog, load_customers, load_meters
from workers.records.files.open import open_file
from workers.records.files.write import TemplateWriter
from workers.records.schema import REQUIRED_COLUMNS
from workers.remedies.rules import load_rules

JSON_SCHEMA: Final[dict[str, PolarsDataType]] = {
    **dict.fromkeys(REQUIRED_COLUMNS, pl.String),
    "payload": pl.Struct(dict.fromkeys(("stripe_customer_id", "value", "region"), pl.String)),
}


def polars_alone(world: World, shape: str, out: Path) -> None:
    """Read and write the same file with polars' streaming engine, every column as text, and do nothing else."""
    source = world.usage(shape)
    if shape == "csv":
        pl.scan_csv(source, infer_schema=False).sink_csv(out / "copy.csv")
    else:
        pl.scan_ndjson(source, schema=JSON_SCHEMA).sink_ndjson(out / "copy.jsonl")


def reader_and_writer(world: World, shape: str, out: Path) -> None:
    """Open, cut, look for repeats, read and write in the same shape, without judging a record."""
    with open_file(world.usage(shape)) as file, TemplateWriter(out / "copy", shape) as writer:
        [facts] = find_facts([file])
        for frame in in_order(lambda part: file.read(part, facts.columns), facts.parts):
            writer.append(frame)
        writer.close()


def engine(world: World, shape: str, out: Path) -> None:
    """Diagnose every rule, repair with the alias table, and write all files of the plan."""
    catalog = Catalog(load_meters(world.meters), load_customers(world.customers))
    rules = load_rules(world.rules)
    options = PlanOptions(output=shape)
    plan_file(world.usage(shape), catalog=catalog, rules=rules, now=NOW, out=out / "plan", options=options)


TASKS: Final[Mapping[str, Callable[[World, str, Path], None]]] = {
    "polars": polars_alone,
    "reader+writer": reader_and_writer,
    "engine": engine,
}


def main(task: str, folder: str, records: str, shape: str) -> None:
    """Run one task and print how long it took."""
    world = World(Path(folder), int(records))
    with tempfile.TemporaryDirectory(dir=folder) as out:
        start, worked = time.perf_counter(), time.process_time()
        TASKS[task](world, shape, Path(out))
        figures = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - worked}
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
