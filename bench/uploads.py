"""Many small uploads at once: 500 files with one row each that Stripe refuses for its form, and two workers.

From the first event to the last record resubmitted, at the connector's documented pace of a file in ten seconds:
how long, in how many files, with how many messages to Slack, and in how many transactions of the ledger.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

from sqlalchemy import text

from bench.faults.house import House, Plan
from bench.faults.usage import Sender
from workers.kernel.files import PREFIX
from workers.kernel.ledger.journal import Bucket

FILES: Final = 100
FULL_FILES: Final = 500
ROWS: Final = 3
PATIENCE: Final = 900.0
PACE: Final = "10"


def run(*, full: bool, rounds: int, quiet: bool) -> dict[str, Any]:
    """Print the figures of one run and return them."""
    del rounds  # it is bound by the pace, not by the machine
    files = FULL_FILES if full else FILES
    with slack() as sink, TemporaryDirectory(prefix="mm-uploads-") as name:
        plan = Plan(ledger="postgres", settings={"SUBMIT_PACE_SECONDS": PACE, "SLACK_WEBHOOK_URL": sink.url})
        with House(Path(name) / "house", plan) as house:
            sender = Sender(house, Random(1))
            sender.set_up()
            before, begun = _transactions(house), time.monotonic()
            for _ in range(files):
                sender.upload(ROWS, faulty=["date_as_text"])
            house.until(lambda: _resubmitted(house) == files, PATIENCE, "all to be resubmitted", every=0.5)
            seconds = time.monotonic() - begun
            figures = {
                "uploads": files,
                "cases": len(house.ledger.queries.case_ids()),
                "seconds": round(seconds, 1),
                "files": sum(1 for _ in house.bucket.glob(f"{PREFIX}*.csv")),
                "messages": sink.messages,
                "transactions": _transactions(house) - before,
            }
    if not quiet:
        print(
            f"{figures['uploads']} uploads with a bad row, {figures['cases']} cases, two workers, "
            f"a file in {PACE} s: all resubmitted after {figures['seconds']} s in {figures['files']} files, "
            f"{figures['messages']} messages to Slack, {figures['transactions']:,} transactions"
        )
    return figures


def _resubmitted(house: House) -> int:
    balance = house.ledger.totals.of_all().balance
    return sum(balance[bucket].records for bucket in (Bucket.SUBMITTED, Bucket.CONFIRMED) if not _open(house))


def _open(house: House) -> bool:
    """Tell whether a submission is intended and not sent."""
    with house.ledger.database.read() as connection:
        return bool(connection.execute(text("SELECT count(*) FROM submissions WHERE state = 'intended'")).scalar())


def _transactions(house: House) -> int:
    query = text("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
    with house.ledger.database.read() as connection:
        return int(connection.execute(query).scalar_one())


class _Sink(ThreadingHTTPServer):
    """Takes what goes to Slack, and counts it."""

    messages = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/bench"


class _Answer(BaseHTTPRequestHandler):
    server: _Sink

    def do_POST(self) -> None:
        """Answer as Slack does."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.messages += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def slack() -> Iterator[_Sink]:
    """Run a stand-in for Slack's webhook."""
    with _Sink(("127.0.0.1", 0), _Answer) as sink:
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        yield sink
        sink.shutdown()
