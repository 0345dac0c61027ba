"""How long the server takes for each page of the console over a million quarantined records in 500 causes.

And how that grows with the open cases: the pages that tell of all of them, and the sweeper's look at the due.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any, Final

from flask.testing import FlaskClient
from sqlalchemy import func, insert, select, text, update
from werkzeug.security import generate_password_hash

from bench.faults.databases import LedgerDatabase, Postgres, SqliteFile
from tests.recording import RecordingJobQueue
from webhooks.app import create_app
from workers.kernel.clock import utc_now
from workers.kernel.ledger import Ledger, connect
from workers.kernel.ledger.appraisal import Appraisal
from workers.kernel.ledger.by_code import BY_CODE, detail_of
from workers.kernel.ledger.case import VALIDATION_REPORT, Failure
from workers.kernel.ledger.case_facts import CaseFacts, NameKind
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.journal import ROUTES, Bucket, EntryKind, Movement, Tally
from workers.kernel.ledger.schema import upgrade
from workers.kernel.ledger.standings import Cause, Standing
from workers.kernel.ledger.tables import cases, events, metadata
from workers.kernel.money import Amount
from workers.kernel.settings import Settings, load

CASES: Final = 500
RECORDS: Final = 2_000
"""Quarantined records of a case."""
CAUSES: Final = 500
EACH: Final = 5
"""Causes of one case, so that each cause is found in as many cases."""
EVENTS: Final = 20_000
ACTS: Final = 200
VISITS: Final = 20
GROWN: Final = (5_000, 20_000)
"""Open cases, beside those of a million records."""
COPIED: Final = ("cases", "standings", "case_names", "entries", "incident_cases", "open_usage", "open_money")
DUE: Final = 500
"""Cases that one sweep takes."""
OF_ALL: Final = ("overview", "cases", "cases by risk", "cases of a code, by quantity", "quarantine", "incidents")
"""The pages that tell of all open cases."""
GOAL_MS: Final = 150
PASSWORD: Final = "measured"
CODES: Final = ("meter_event_customer_not_found", "meter_event_invalid_value", "timestamp_too_far_in_past")
LEASE: Final = timedelta(minutes=5)


def run(*, full: bool, rounds: int, quiet: bool) -> dict[str, Any]:
    """Measure all pages on SQLite and on PostgreSQL; with `full` over four times as many cases."""
    found: dict[str, Any] = {}
    for name in ("SQLite", "PostgreSQL"):
        with _database(name) as database, _ledger(database.url, CASES * (4 if full else 1)) as ledger:
            found[name] = _measured(_client(ledger), _pages(ledger), VISITS * rounds)
            for size in GROWN:
                _grow(ledger, size)
                found[name] |= _grown(ledger, size)
        if not quiet:
            _print(name, found[name])
    return found


@contextmanager
def _database(name: str) -> Iterator[LedgerDatabase]:
    with TemporaryDirectory(prefix="mm-pages-", dir=_in_memory()) as folder:
        database = SqliteFile(Path(folder)) if name == "SQLite" else Postgres()
        try:
            yield database
        finally:
            database.close()


def _in_memory() -> str | None:
    """Return a folder in memory if there is one: what is measured are reads, and the ledger is soon written."""
    with suppress(OSError):
        return "/dev/shm" if shutil.disk_usage("/dev/shm").free > 10**9 else None
    return None


@contextmanager
def _ledger(url: str, cases: int) -> Iterator[Ledger]:
    """Fill a ledger as the workers do: a commit for each case, over the last 30 days."""
    now = [utc_now() - timedelta(days=30)]
    ledger = connect(url, lambda: now[0])
    upgrade(ledger.database)
    for number in range(cases):
        now[0] += timedelta(days=30) / (cases + 1)
        _case(ledger, number, now[0])
    with ledger.database.write() as connection:
        connection.execute(insert(events), [_event(number, now[0]) for number in range(EVENTS)])
    for number in range(ACTS):
        act = ledger.acts.ask("make_rule", None, {}, f"person {number % 7}", "they have merged")
        ledger.rules.make(act, "customer", f"old {number}", f"cus_{number}")
    _settle_down(ledger)
    yield ledger
    ledger.close()


def _settle_down(ledger: Ledger) -> None:
    """Bring up to date what is kept of all cases, and what the database knows of its tables."""
    ledger.recount()
    if ledger.database.engine.dialect.name == "postgresql":
        with ledger.database.write() as connection:
            connection.execute(text("ANALYZE"))


def _grow(ledger: Ledger, size: int) -> None:
    """Copy the cases under other names until there are so many; all of them are due."""
    [there] = ledger.database.values(select(func.count()).select_from(cases))
    names = {"id", "key", "case_id"}
    with ledger.database.write() as connection:
        for number in range(there // CASES, size // CASES):
            for table in map(metadata.tables.__getitem__, COPIED):
                copied = [
                    (column + f"~{number}").label(column.name) if column.name in names else column
                    for column in table.c
                ]
                own = table.c.id if table is cases else table.c.case_id
                query = select(*copied).where(~own.contains("~"))
                connection.execute(insert(table).from_select(list(table.c), query))
        connection.execute(update(cases).values(due_at=cases.c.changed_at))
    _settle_down(ledger)


def _case(ledger: Ledger, number: int, now: datetime) -> None:
    code, meter = CODES[number % len(CODES)], f"meter_{number % 20}"
    failure = Failure(
        f"report:{number}", VALIDATION_REPORT, False, f"records of {meter} were refused", code=code, meter_id=meter,
        event_name=meter, window_start=f"{now:%Y-%m-%dT%H:%M:%SZ}",
    )  # fmt: skip
    share = Tally(RECORDS // EACH, Decimal(number) + Decimal("1234.5"))
    causes = [(number * EACH + each) % CAUSES for each in range(EACH)]
    waits = [
        Standing(Bucket.QUARANTINED, Cause(code, code, f"meter_{cause % 20}", f"customer {cause}"), share)
        for cause in causes
    ]
    total = sum((one.tally for one in waits), Tally())
    detail = {"reasons": {code: total.records}, BY_CODE: detail_of({code: total})}
    names = {NameKind.CUSTOMER: [f"customer {cause}" for cause in causes], NameKind.METER: [meter]}
    facts = CaseFacts({meter: {Bucket.QUARANTINED: total}}, names, 2, waits)
    with ledger.cases.hold(failure, "bench", LEASE) as held:
        with held.transaction(last=True) as transaction:
            for kind in (EntryKind.SEEN, EntryKind.QUARANTINED):
                transaction.move(Movement(kind, *ROUTES[kind][0], total.records, total.quantity, detail=detail))
            money = {"usd": Amount(total.quantity, total.quantity)}
            transaction.know(facts, Appraisal(total.records, now + timedelta(days=35), at_risk=money))
        case = held.case
    ledger.incidents.note(case, f"{code} on {meter}", {}, timedelta(hours=1))


def _event(number: int, now: datetime) -> dict[str, Any]:
    states = (EventState.DONE, EventState.DONE, EventState.DONE, EventState.FAILED)
    columns = {"kind": "thin", "type": "v1.billing.meter.error_report_triggered", "livemode": False, "raw": b"{}"}
    received = now - timedelta(minutes=number)
    return columns | {
        "id": f"evt_{number}", "received_at": received, "sha256": "0" * 64, "state": states[number % len(states)],
    }  # fmt: skip


def _measured(client: FlaskClient, pages: Mapping[str, str], visits: int) -> dict[str, dict[str, float]]:
    """Return page -> {p50, p95, cpu} in milliseconds; `cpu` is our own processor's time, whatever else runs."""
    return {name: _timed(partial(_visit, client, address), visits) for name, address in pages.items()}


def _grown(ledger: Ledger, size: int) -> dict[str, dict[str, float]]:
    """Measure over so many open cases the pages that tell of all of them, and the sweeper's look."""
    all_pages = _pages(ledger)
    figures = _measured(_client(ledger), {name: all_pages[name] for name in OF_ALL}, VISITS)
    figures["due for a sweep"] = _timed(lambda: ledger.cases.due(DUE), VISITS)
    return {f"{name}, {size:,} cases": found for name, found in figures.items()}


def _client(ledger: Ledger) -> FlaskClient:
    settings: Settings = load(
        {
            "stripe_webhook_secrets": "whsec_made_up", "session_secret": "made up",
            "console_password_hash": generate_password_hash(PASSWORD, method="pbkdf2:sha256:1"),
        }
    )  # fmt: skip
    app = create_app(settings, ledger=ledger, queue=RecordingJobQueue())
    app.config["WTF_CSRF_ENABLED"] = False
    client = app.test_client()
    client.post("/console/login", data={"password": PASSWORD})
    return client


def _pages(ledger: Ledger) -> Mapping[str, str]:
    some = ledger.queries.cases(limit=1)[0].id
    return {
        "overview": "/",
        "cases": "/cases",
        "cases by risk": "/cases?sort=risk",
        "cases of a customer": "/cases?customer=customer 7",
        "cases by text": "/cases?q=meter_7",
        "cases of a code, by quantity": "/cases?code=meter_event_invalid_value&sort=quantity&state=needs_person",
        "a case": f"/cases/{some}",
        "quarantine": "/quarantine",
        "quarantine, last page": "/quarantine?page=10",
        "quarantine of a customer": "/quarantine?customer=customer 7",
        "incidents": "/incidents",
        "an incident": f"/incidents/{ledger.incidents.of_case(some)}",
        "events": "/events",
        "events of a type": "/events?type=v1.billing.meter.error_report_triggered&since=30_days",
        "an event": "/events/evt_1",
        "rules": "/rules",
        "audit": "/audit?kind=make_rule",
    }


def _visit(client: FlaskClient, address: str) -> None:
    answer = client.get(f"/console{address}")
    if answer.status_code != 200:
        raise RuntimeError(f"{address} answers {answer.status_code}")


def _timed(look: Callable[[], object], visits: int) -> dict[str, float]:
    taken, worked = [], []
    for visit in range(visits + 1):
        begun, works = time.perf_counter(), time.process_time()
        look()
        if visit:  # the first one compiles the template
            taken.append((time.perf_counter() - begun) * 1000)
            worked.append((time.process_time() - works) * 1000)
    return {"p50": median(taken), "p95": quantiles(taken, n=20)[-1], "cpu": median(worked)}


def _print(name: str, found: Mapping[str, Mapping[str, float]]) -> None:
    print(f"{CASES * RECORDS:,} quarantined records, {CAUSES} causes, {name}; the goal is {GOAL_MS} ms at p95")
    for page, figures in found.items():
        over = "  over the goal" if figures["p95"] > GOAL_MS else ""
        told = "  ".join(f"{figure} {milliseconds:6.1f}" for figure, milliseconds in figures.items())
        print(f"  {page:<30} {told} ms{over}")
