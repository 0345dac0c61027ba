"""Usage files with faults of every known code, and what is needed to repair them: the same for the same size.

`python -m bench.generate FOLDER RECORDS [FAULTY]` writes them; the bench has it done by another process, since the
operating system counts the memory of a parent as its children's.

`FAULTY` per cent of the records (10 by default, a bad day) are refused by Stripe, a tenth of these for their
customer's old id, of which the alias table knows 100 000. The rest of the faults share the remainder evenly.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl

from workers.records.files.stripe_formats import csv_header, csv_rows, json_elements, json_rows
from workers.records.schema import CUSTOMER, EVENT_NAME, IDENTIFIER, TIMESTAMP, VALUE

NOW: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
ALIASES: Final = 100_000
CHUNK: Final = 250_000
FAULTY: Final = 10
LOTS: Final = 100
"""Lots by which the kinds of faults are dealt out; a record that draws a higher number has none."""
REGION: Final = "payload_region"
COLUMNS: Final = (IDENTIFIER, TIMESTAMP, EVENT_NAME, CUSTOMER, VALUE, REGION)


@dataclass(frozen=True)
class World:
    """The files of one size: usage in three shapes, and what `metermend repair` is told."""

    folder: Path
    records: int

    def usage(self, shape: str) -> Path:
        return self.folder / f"usage-{self.records}.{shape}"

    @property
    def meters(self) -> Path:
        return self.folder / "meters.json"

    @property
    def customers(self) -> Path:
        return self.folder / "customers.txt"

    @property
    def rules(self) -> Path:
        return self.folder / "rules.toml"


def make_world(folder: Path, records: int, faulty: int = FAULTY) -> World:
    """Write the files of this size, with so many per cent of faulty records, into the folder."""
    world = World(folder, records)
    _write_usage(world, faulty)
    world.meters.write_text(json.dumps([_meter("calls", "active"), _meter("legacy", "inactive")]))
    known = pl.select(_customer(pl.int_range(ALIASES)).alias("id"))
    world.customers.write_bytes(csv_rows(known))
    aliases = known.with_columns(_alias(pl.int_range(ALIASES)).alias("alias")).select(
        "alias", pl.col("id").alias("target")
    )
    (folder / "aliases.csv").write_bytes(csv_header(aliases.columns) + csv_rows(aliases))
    world.rules.write_text('[customers]\nalias_file = "aliases.csv"\n[event_names.aliases]\nagents = "calls"\n')
    return world


def _meter(event_name: str, status: str) -> dict[str, object]:
    return {
        "id": f"mtr_{event_name}",
        "object": "billing.meter",
        "display_name": event_name,
        "event_name": event_name,
        "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
        "value_settings": {"event_payload_key": "value"},
        "default_aggregation": {"formula": "sum"},
        "event_time_window": None,
        "status": status,
        "dimension_payload_keys": ["region"] if status == "active" else None,
    }


def _write_usage(world: World, faulty: int) -> None:
    with (
        world.usage("csv").open("wb") as as_csv,
        world.usage("jsonl").open("wb") as as_jsonl,
        world.usage("json").open("wb") as as_json,
    ):
        as_csv.write(csv_header(COLUMNS))
        for frame in _chunks(world.records, faulty):
            as_csv.write(csv_rows(frame))
            as_jsonl.write(json_rows(frame))
            as_json.write((b",\n" if as_json.tell() else b"[\n") + json_elements(frame).removesuffix(b",\n"))
        as_json.write(b"\n]\n")


def _chunks(records: int, faulty: int) -> Iterator[pl.DataFrame]:
    for start in range(0, records, CHUNK):
        row = pl.int_range(start, min(start + CHUNK, records))
        yield pl.select(row.alias("row")).select(_columns(LOTS * 100 // faulty))


def _scatter(row: pl.Expr, factor: int, below: int) -> pl.Expr:
    """Return numbers below a bound that look drawn by lot, the same in every run."""
    return (row * factor + 12_345) % 2_147_483_647 % below


def _customer(number: pl.Expr) -> pl.Expr:
    return pl.format("cus_{}", number.cast(pl.String).str.zfill(14))


def _alias(number: pl.Expr) -> pl.Expr:
    return pl.format("crm-{}", number)


def _columns(lots: int) -> list[pl.Expr]:
    row = pl.col("row")
    lot = _scatter(row, 48_271, lots)
    number = _scatter(row, 16_807, ALIASES)
    seconds = int(NOW.timestamp()) - 60 - _scatter(row, 69_621, 2_000_000)
    whole, cents = _scatter(row, 39_373, 100_000), _scatter(row, 62_089, 90) + 10
    value = pl.when(row % 3 == 0).then(pl.format("{}.{}", whole, cents)).otherwise(whole.cast(pl.String))

    def among(first: int, last: int) -> pl.Expr:
        return lot.is_between(first, last)

    return [
        pl.format("rec-{}-{}", row, _scatter(row, 630_360_016, 1_000_000_000)).alias(IDENTIFIER),
        pl.when(among(0, 4)).then(pl.format("{}000", seconds))
        .when(among(5, 9)).then(int(NOW.timestamp()) + 600 + _scatter(row, 69_621, 80_000))
        .when(among(10, 14)).then(seconds - 86_400 * 40)
        .when(among(15, 19)).then(pl.from_epoch(seconds).dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
        .otherwise(seconds).alias(TIMESTAMP),
        pl.when(among(20, 24)).then(pl.lit("Calls "))
        .when(among(25, 29)).then(pl.lit("agents"))
        .when(among(30, 34)).then(pl.lit("legacy"))
        .otherwise(pl.lit("calls")).alias(EVENT_NAME),
        pl.when(among(35, 44)).then(_alias(number))
        .when(among(45, 49)).then(pl.format(" {}", _customer(number)))
        .when(among(50, 54)).then(None)
        .when(among(55, 59)).then(pl.lit("cus_unknown"))
        .otherwise(_customer(number)).alias(CUSTOMER),
        pl.when(among(60, 64)).then(None)
        .when(among(65, 74)).then(pl.format("{},234,567", whole % 9 + 1))
        .when(among(75, 79)).then(pl.format(" {} ", whole))
        .when(among(80, 84)).then(pl.format("{}.50000000000000000", whole))
        .when(among(85, 89)).then(pl.lit("many"))
        .otherwise(value).alias(VALUE),
        pl.when(among(90, 94)).then(None).otherwise(pl.lit("eu")).alias(REGION),
    ]  # fmt: skip


if __name__ == "__main__":
    make_world(Path(sys.argv[1]), *map(int, sys.argv[2:]))
