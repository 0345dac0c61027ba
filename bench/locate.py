"""What it costs to find every refused record behind reports that name ten of each code.

A sender's files hold faulty rows of five codes; the reports of many windows count them. From the first report to
all of them planned, in one process, with nothing indexed and with all files indexed; beside polars, which scans
the same bytes once. The twin answers in the place of Stripe. Nothing is sent, and pauses between looks are turned
over, not slept through.
"""

import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import polars as pl

from bench.company import company, settings_of
from bench.measure import Measured, measured
from fixtures.twin import Twin
from fixtures.twin.event import Event

FILES, WINDOWS, ROWS, REFUSED = 10, 10, 100_000, 100
"""Files, windows, rows of a file, and refused rows of a window; ten times as many files and windows with `full`."""
SAMPLES: Final = 10
CODES: Final[dict[str, dict[str, str | None]]] = {
    "meter_event_customer_not_found": {"payload_stripe_customer_id": " cus_1"},
    "meter_event_no_customer_defined": {"payload_stripe_customer_id": None},
    "meter_event_invalid_value": {"payload_value": " 7"},
    "meter_event_value_not_found": {"payload_value": None},
    "timestamp_in_future": {"timestamp": "milliseconds"},
}
METER: Final = "api_requests"
LONGEST_WAIT: Final = timedelta(minutes=30)
"""By the clock that is turned; what is not planned by then never will be."""


def run(*, full: bool, rounds: int, quiet: bool) -> dict[str, Any]:
    """Print the ratios and the peak of memory, and return the figures."""
    scale = 10 if full else 1
    files, windows = FILES * scale, WINDOWS * scale
    found: dict[str, list[Measured]] = {"scan": [], "cold": [], "warm": []}
    looks: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in range(1 if full else rounds):
        with TemporaryDirectory(prefix="mm-locate-") as name, company(Path(name), METER) as twin:
            folder = Path(name)
            events = _world(twin, folder, files, windows)
            (folder / "events.json").write_text(json.dumps(events))
            found["scan"].append(measured("bench.locate", ["scan", name]))
            for state in ("cold", "warm"):
                os.environ.update(settings_of(folder, twin.url, **_apart(folder, state)))
                found[state].append(measured("bench.locate", ["locate", name]))
                looks[state] += _looks(os.environ["DATABASE_URL"])
    figures = {
        "rows": files * ROWS,
        "refused": windows * REFUSED,
        "scan_seconds": median(one.seconds for one in found["scan"]),
        **{f"{state}_seconds": median(one.seconds for one in found[state]) for state in ("cold", "warm")},
        **{f"{state}_look_seconds": median(seconds) for state, seconds in looks.items()},
        "peak_mib": max(one.peak_mib for state in ("cold", "warm") for one in found[state]),
    }
    if not quiet:
        _print(figures)
    return figures


def _apart(folder: Path, state: str) -> dict[str, str]:
    """Return what the cold and the warm run do not share; the index in the scratch directory they do."""
    return {
        "DATABASE_URL": f"sqlite:///{folder / state}.db",
        "ARCHIVE_URL": str(folder / f"archive-{state}"),
        "SUBMIT_TO": "",
    }


def _looks(ledger_url: str) -> list[float]:
    """Return the seconds that each look of a run took."""
    from workers.kernel.ledger import connect
    from workers.pipeline.locate.locate import LOOK

    queries = connect(ledger_url).queries
    entries = [entry for case_id in queries.case_ids() for entry in queries.entries(case_id)]
    return [entry.detail[LOOK]["took"] for entry in entries if LOOK in entry.detail]


def _print(figures: dict[str, Any]) -> None:
    scan = figures["scan_seconds"]
    print(f"{figures['refused']:,} refused of {figures['rows']:,} rows; polars scans them in {scan:.2f} s")
    for state in ("cold", "warm"):
        seconds, look = figures[f"{state}_seconds"], figures[f"{state}_look_seconds"]
        print(f"  all planned, {state} index: {seconds:.1f} s, {seconds / scan:.1f} times the scan")
        print(f"    of that a look: {look:.2f} s")
    print(f"  peak {figures['peak_mib']:.0f} MiB")


def _world(twin: Twin, folder: Path, files: int, windows: int) -> list[dict[str, Any]]:
    """Write the files, and return the events that tell of their faulty rows, window by window."""
    twin.add_customers([f"cus_{number}" for number in range(2, 1000)])
    now = datetime.now(UTC).replace(microsecond=0)
    faulty = {code: [f"{code}-{n}" for n in range(windows * REFUSED // len(CODES))] for code in CODES}
    rows = [(code, name) for code, names in faulty.items() for name in names]
    for number in range(files):
        _file(folder / "sources" / f"usage-{number:03}.csv", number, rows[number::files], now)
    meter = next(iter(twin.world.account(None).meters))
    start = now + timedelta(minutes=1)
    return [_report(twin, meter, start + timedelta(seconds=10 * n), n, windows, faulty) for n in range(windows)]


def _file(path: Path, number: int, faulty: list[tuple[str, str]], now: datetime) -> None:
    an_hour_ago = int(now.timestamp()) - 3600
    frame = pl.select(pl.int_range(ROWS - len(faulty)).alias("row")).select(
        identifier=pl.format("use-{}-{}", pl.lit(number), "row"),
        timestamp=pl.lit(str(an_hour_ago)),
        event_name=pl.lit(METER),
        payload_stripe_customer_id=pl.format("cus_{}", pl.col("row") % 998 + 1),
        payload_value=(pl.col("row") % 100 + 1).cast(pl.String),
    )
    bad = []
    for code, name in faulty:
        row: dict[str, str | None] = {
            "identifier": name,
            "timestamp": str(an_hour_ago),
            "event_name": METER,
            "payload_stripe_customer_id": "cus_1",
            "payload_value": "7",
        }
        changes = {
            column: f"{an_hour_ago}000" if text == "milliseconds" else text for column, text in CODES[code].items()
        }
        bad.append(row | changes)
    pl.concat([frame, pl.DataFrame(bad, schema=frame.schema)]).write_csv(path)


def _report(
    twin: Twin, meter: str, start: datetime, number: int, windows: int, faulty: dict[str, list[str]]
) -> dict[str, Any]:
    errors: list[dict[str, Any]] = []
    for code, names in faulty.items():
        mine = names[number::windows]
        samples = [{"error_message": "refused", "request": {"identifier": name}} for name in mine[:SAMPLES]]
        errors.append({"code": code, "error_count": len(mine), "sample_errors": samples})
    window = {"validation_start": _text(start), "validation_end": _text(start + timedelta(seconds=10))}
    reason = {"error_count": sum(error["error_count"] for error in errors), "error_types": errors}
    event: dict[str, Any] = {
        "id": f"evt_bench_{number}",
        "object": "v2.core.event",
        "type": "v1.billing.meter.error_report_triggered",
        "livemode": False,
        "created": _text(start),
        "context": None,
        "related_object": {"id": meter, "type": "billing.meter", "url": f"/v1/billing/meters/{meter}"},
    }
    whole = Event({**event, "data": {"reason": reason, **window}}, twin.world.now())
    twin.world.account(None).events[event["id"]] = whole
    return event


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _scan(folder: Path) -> None:
    """Let polars read every column of every file as text, once."""
    usage = pl.scan_csv(folder / "sources" / "*.csv", infer_schema=False)
    usage.select(pl.all().str.len_bytes().sum()).collect(engine="streaming")


def _locate(folder: Path) -> None:
    """Take in all reports and carry their cases on until every refused record has a plan."""
    from workers.bootstrap import build
    from workers.kernel import logs
    from workers.kernel.event_envelope import read_envelope
    from workers.kernel.ledger.journal import Found
    from workers.kernel.settings import load
    from workers.pipeline.run import carry_on, process

    settings, ahead = load(), timedelta()
    logs.configure(settings.log_format)
    context = build(settings, lambda: datetime.now(UTC) + ahead)
    for event in json.loads((folder / "events.json").read_text()):
        context.ledger.events.record(read_envelope(json.dumps(event).encode(), livemode=False))
    for event_id, _ in context.ledger.events.due(10_000):
        process(context, event_id)
    while context.ledger.queries.balance().found.get(Found.UNEXPLAINED) and ahead < LONGEST_WAIT:
        due = context.ledger.cases.due(1000)
        for case in due:
            carry_on(context, case.id)
        if not due:
            ahead += timedelta(seconds=1)
    found = context.ledger.queries.balance().found
    assert not found.get(Found.UNEXPLAINED), found


if __name__ == "__main__":
    task, place = sys.argv[1], Path(sys.argv[2])
    import workers.bootstrap  # noqa: F401 (the interpreter's start and the imports are not measured)
    from workers.cli.db import migrate

    if task == "locate":
        migrate(os.environ["DATABASE_URL"])
    started, processors = time.perf_counter(), time.process_time()
    (_locate if task == "locate" else _scan)(place)
    taken = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - processors}
    sys.stdout.write(json.dumps(taken))
