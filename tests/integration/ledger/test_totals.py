"""If these fail, a scrape of the metrics slows the web down with every case, or shows what is not so."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from tests.builders import a_failure, a_movement, open_case
from tests.conftest import FrozenClock
from tests.recording import RecordingJobQueue
from tests.servers import PostgresServer
from webhooks.health import Health, registry_of
from workers.kernel.errors import Corrupt
from workers.kernel.ledger import Ledger, connect, schema
from workers.kernel.ledger.events import EventState, NewEvent
from workers.kernel.ledger.journal import Balance, EntryKind, Tally
from workers.kernel.ledger.tables import case_totals, cases, event_counts, events
from workers.kernel.settings import read

LEASE = timedelta(minutes=5)
MOVES = [EntryKind.SEEN, EntryKind.PLANNED, EntryKind.QUARANTINED]


def move(ledger: Ledger, key: str, kind: EntryKind, records: int, quantity: str) -> None:
    with ledger.cases.hold(a_failure(key), f"worker on {key}", LEASE) as held, held.transaction() as draft:
        draft.move(a_movement(kind, records, quantity))


def counted_anew(ledger: Ledger) -> tuple[Balance, dict[str, int]]:
    with ledger.database.read() as connection:
        rows = connection.execute(sa.select(cases.c.state, cases.c.balance).where(cases.c.version > 0)).all()
    return sum((Balance.from_json(row.balance) for row in rows), Balance()), Counter(row.state for row in rows)


def states_anew(ledger: Ledger) -> dict[str, int]:
    with ledger.database.read() as connection:
        return Counter(connection.scalars(sa.select(events.c.state)))


def event(number: int, **about: Any) -> NewEvent:
    return NewEvent(f"evt_{number}", "thin", "v1.billing.meter.error_report_triggered", False, b"{}", **about)


@given(
    moves=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(MOVES), st.integers(0, 3), st.sampled_from(["0", "1.5"])),
        max_size=12,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_kept_is_what_counting_anew_finds(
    sqlite_ledger: Ledger, moves: list[tuple[str, EntryKind, int, str]]
) -> None:
    for key, kind, records, quantity in moves:
        with suppress(Corrupt):  # more than the case holds: nothing of it may be kept
            move(sqlite_ledger, key, kind, records, quantity)
    balance, states = counted_anew(sqlite_ledger)
    assert sqlite_ledger.queries.balance() == balance + Balance()
    assert sqlite_ledger.queries.case_counts() == states
    assert list(sqlite_ledger.totals.wrong()) == []


def test_cases_that_are_written_at_once_are_all_in_the_totals(ledger: Ledger) -> None:
    def work(key: str) -> None:
        for _ in range(5):
            move(ledger, key, EntryKind.SEEN, 2, "0.1")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, [f"case {number}" for number in range(6)]))
    assert ledger.queries.balance().failed == Tally(60, Decimal("3.0"))
    assert ledger.queries.case_counts() == {"open": 6}
    assert list(ledger.totals.wrong()) == []


def test_events_are_counted_through_all_their_states(ledger: Ledger) -> None:
    for number in range(6):
        assert ledger.events.record(event(number))
    assert not ledger.events.record(event(0))
    assert ledger.events.record(event(6, ignored="another_type"))
    for number, end in enumerate([EventState.DONE, EventState.FAILED, EventState.IGNORED]):
        ledger.events.claim(f"evt_{number}", "one", LEASE)
        ledger.events.finish(f"evt_{number}", "one", end)
    ledger.events.claim("evt_3", "one", LEASE)
    assert ledger.queries.event_counts() == states_anew(ledger)
    assert ledger.events.retry("evt_1")
    assert not ledger.events.retry("evt_3")
    assert not ledger.events.retry("evt_none")
    assert ledger.queries.event_counts() == states_anew(ledger)
    assert ledger.queries.event_counts() == {"received": 3, "processing": 1, "done": 1, "ignored": 2}


def test_who_changes_what_the_console_shows_is_found_out(ledger: Ledger) -> None:
    move(ledger, "a", EntryKind.SEEN, 2, "0.1")
    with ledger.database.write() as connection:
        lane = connection.scalars(sa.select(case_totals.c.lane)).first()
        connection.execute(sa.delete(case_totals).where(case_totals.c.lane == lane))
        connection.execute(
            sa.insert(case_totals).values(lane=lane, totals={"balance": {}, "states": {"settled": 9}})
        )
    assert lane in list(ledger.totals.wrong())
    ledger.recount()
    assert list(ledger.totals.wrong()) == []
    assert ledger.queries.case_counts() == {"open": 1}


@pytest.mark.postgres
def test_a_post_waits_for_no_other_post_that_hangs(migrated_postgres: str, postgres_server: PostgresServer) -> None:
    """Counted with each post, sixteen rows would have stood between all posts."""
    postgres_server.empty(migrated_postgres)
    ledger = connect(migrated_postgres)
    hanging = ledger.database.engine.connect()
    hanging.execute(sa.select(event_counts).with_for_update())
    assert all(ledger.events.record(event(number)) for number in range(32))
    hanging.close()
    ledger.close()


@pytest.mark.parametrize("number", [2, 40])
def test_a_scrape_reads_no_case_and_no_more_rows_for_more_of_them(sqlite_ledger: Ledger, number: int) -> None:
    for each in range(number):
        move(sqlite_ledger, f"case {each}", EntryKind.SEEN, 2, "0.1")
        sqlite_ledger.events.record(event(each))
    health = Health(read()[0], sqlite_ledger, RecordingJobQueue())
    asked: list[str] = []
    sa.event.listen(
        sqlite_ledger.database.engine, "before_cursor_execute", lambda *given: asked.append(str(given[2]))
    )
    shown = generate_latest(registry_of(health)).decode()
    assert f'metermend_cases{{state="open"}} {number}.0' in shown
    assert [one for one in asked if "FROM cases" in one] == []
    assert len([one for one in asked if one.startswith("SELECT")]) <= 8


def test_a_ledger_of_the_first_release_is_counted_as_it_is_migrated(tmp_path: Path, clock: FrozenClock) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    ledger = connect(url, clock)
    schema.upgrade(ledger.database)
    for number in range(20):
        ledger.events.record(event(number, **({"ignored": "another_type"} if number % 3 else {})))
        move(ledger, f"case {number}", MOVES[0], number, "0.5")
    open_case(ledger, a_failure("without entries"))
    before = ledger.queries.balance(), ledger.queries.case_counts(), ledger.queries.event_counts()
    with ledger.database.write() as connection:
        connection.exec_driver_sql("DROP INDEX cases_windows")
        sorted_by = "changed", "opened", "deadline", "size", "urgent", "appraise", "trouble"
        listed = "entries_event", "entries_at", "events_state", "events_type", "submission_chunks_file"
        later_sorted_by = "state_urgent", "state_size", "open"
        for index in (*(f"cases_{name}" for name in (*sorted_by, *later_sorted_by)), *listed):
            connection.exec_driver_sql(f"DROP INDEX {index}")
        appraised = (
            "too_old_at",
            "invoice_at",
            "invoice_of",
            "payers",
            "at_risk",
            "lacks",
            "urgent_at",
            "appraise_at",
        )
        columns = {
            "cases": ("deadline", "size", "meters", "named", "open_records", *appraised),
            "events": ("fetched", "erased"),
        }
        for table, names in {**columns, "submission_chunks": ("file",)}.items():
            for name in names:
                connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {name}")
        later = ("sessions", "event_counts", "case_totals", "joined_windows", "fault_kinds", "heartbeats", "users")
        for table in (
            *later,
            "case_names",
            "case_examples",
            "standings",
            "open_usage",
            "open_money",
            "reminders",
            "meter_prices",
            "billing_periods",
            "recoveries",
            "rules",
            "acts",
            "awaited",
            "incident_cases",
            "incidents",
            "troubles",
            "alert_channels",
        ):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    schema.upgrade(ledger.database)
    assert (ledger.queries.balance(), ledger.queries.case_counts(), ledger.queries.event_counts()) == before
    assert list(ledger.totals.wrong()) == []
    ledger.close()
