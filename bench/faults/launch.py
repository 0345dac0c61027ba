"""`python -m bench.faults.launch ROLE`: a process of the product, with a clock that is wrong or a broken part.

`FAULTS_AHEAD` is by how many seconds its clock is ahead, `FAULTS_PART_RECORDS` how many records are planned at a
time, so that small cases are planned as large ones. The product knows nothing of this: its clock and its size of
slices are exchanged before anything takes them, and `--broken` puts a variant of `broken.py` in a part's place.
"""

import argparse
import os
import sys
from datetime import UTC, datetime, timedelta

from workers.kernel import clock


def main() -> None:
    """Become a web, worker or clock process."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults.launch", description=__doc__)
    parser.add_argument("role", choices=("web", "worker", "clock"))
    parser.add_argument("--broken", help="variants of bench.faults.broken, comma-separated")
    parser.add_argument("-b", dest="bind", help="the web's address")
    options = parser.parse_args()
    _shift_clock(float(os.environ.get("FAULTS_AHEAD", "0")))
    _plan_as_large(os.environ.get("FAULTS_PART_RECORDS", ""), options.role)
    if options.broken:
        from bench.faults.broken import VARIANTS

        for name in options.broken.split(","):
            VARIANTS[name]()
    _run_web(options.bind) if options.role == "web" else _run_command(options.role)


def _shift_clock(seconds: float) -> None:
    ahead = timedelta(seconds=seconds)
    if ahead:
        clock.utc_now = lambda: datetime.now(UTC) + ahead


def _plan_as_large(records: str, role: str) -> None:
    if records and role == "worker":
        from workers.pipeline.plan import plan

        plan.PART_RECORDS = int(records)  # type: ignore[attr-defined]


def _run_web(bind: str) -> None:
    from gunicorn.app.wsgiapp import run  # type: ignore[import-untyped]

    sys.argv = ["gunicorn", "-c", "python:webhooks.gunicorn_conf", "-b", bind]
    run()


def _run_command(role: str) -> None:
    from workers.cli import main as metermend

    metermend([role])


if __name__ == "__main__":
    main()
