"""A table on a real PostgreSQL: if this fails, its numbers and times come out as others, or it is written to."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from tests.conftest import FrozenClock
from tests.servers import PostgresServer
from workers.kernel.errors import SettingsUnusable, Transient
from workers.records.schema import CUSTOMER, EVENT_NAME, IDENTIFIER, ROW, TIMESTAMP, VALUE, WRITTEN
from workers.sources import TableColumns, TableUsageSource

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("postgres_table")]

EIGHT = datetime(2026, 11, 21, 8, tzinfo=UTC)
FIRST = "00000000-0000-4000-8000-000000000001"
SECOND = "00000000-0000-4000-8000-000000000002"
PAYLOAD = {"stripe_customer_id": "customer", "value": "tokens", "ratio": "ratio", "tags": "tags"}
COLUMNS = {"billing.usage": TableColumns("id", "used_at", "meter", "sent_at", PAYLOAD)}
MADE = f"""
CREATE SCHEMA billing;
CREATE TYPE billing.meter AS ENUM ('calls', 'tokens');
CREATE TABLE billing.usage (id uuid, used_at timestamptz, meter billing.meter, customer text, tokens numeric,
    ratio double precision, tags jsonb, sent_at timestamptz, local timestamp);
CREATE INDEX ON billing.usage (sent_at);
INSERT INTO billing.usage VALUES
    ('{FIRST}', '2026-11-21 09:00:00.9+01', 'calls', 'cus_1', 12345678901234567890.120, 0.1, '["a"]',
     '2026-11-21 08:00:01.5Z'),
    ('{SECOND}', '2026-11-21 08:00:02Z', 'tokens', 'cus_2', 0.10, 1e-7, NULL, '2026-11-21 08:59:59.999999Z'),
    (NULL, '2026-11-21 08:00:02Z', 'calls', 'cus_3', 3, NULL, NULL, '2026-11-21 09:00:00Z');
"""


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer) -> str:
    made = postgres_server.create("sender")
    engine = sa.create_engine(made.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        for statement in MADE.strip().rstrip(";").split(";\n"):
            connection.exec_driver_sql(statement)
    engine.dispose()
    return f"{made}{'&' if '?' in made else '?'}table=billing.usage"


def test_what_stands_in_a_table_comes_out_as_its_sender_wrote_it(url: str, clock: FrozenClock) -> None:
    source = TableUsageSource(url, COLUMNS, clock=clock)
    eight, nine = source.candidates(None, EIGHT, EIGHT + timedelta(hours=1)).files
    assert (eight.records, eight.written) == (2, datetime(2026, 11, 21, 8, 59, 59, 999999, UTC))
    assert [
        one.records for one in source.candidates(["tokens", "unheard"], EIGHT, EIGHT + timedelta(hours=1)).files
    ] == [1]
    (rows,) = source.rows_of(eight, None)
    first = rows.select(IDENTIFIER, TIMESTAMP, EVENT_NAME, CUSTOMER, VALUE, "payload_ratio", "payload_tags").row(0)
    assert first == (FIRST, "1795248000", "calls", "cus_1", "12345678901234567890.120", "0.1", '["a"]')
    assert rows.row(1, named=True)["payload_ratio"] == "0.0000001"
    assert rows[WRITTEN][0] == datetime(2026, 11, 21, 8, 0, 1, 500000, UTC)
    (last,) = source.rows_of(nine, ["calls"])
    assert last.select(IDENTIFIER, ROW).row(0) == (None, 1)
    found = source.find([SECOND, "no uuid"]).rows
    assert found.select(IDENTIFIER, ROW).rows() == [(SECOND, 2)]
    assert [part.height for part in source.rows(["calls"], EIGHT, EIGHT + timedelta(seconds=2))] == [1, 0]
    assert source.earlier(found, EIGHT + timedelta(hours=1)).height == 1
    assert source.newest() == EIGHT + timedelta(hours=1)


def test_a_table_is_only_ever_read(url: str) -> None:
    """The sender's own database must not be changed by whoever looks for his usage."""
    source = TableUsageSource(url, COLUMNS)
    with pytest.raises(Transient, match="read-only"), source._table.reading() as connection:
        connection.exec_driver_sql("DELETE FROM billing.usage")
    with pytest.raises(Transient, match="indexes on the watermark"), source._table.reading() as connection:
        connection.exec_driver_sql("SET LOCAL statement_timeout = '20ms'; SELECT pg_sleep(5)")


def test_a_time_without_a_zone_and_a_table_that_is_not_there_are_told(url: str) -> None:
    """A time of another zone is billed in another period."""
    local = {"billing.usage": TableColumns("id", "local", "meter", "sent_at", PAYLOAD)}
    with pytest.raises(SettingsUnusable, match="local is TIMESTAMP, which has no time zone"):
        TableUsageSource(url, local).find([FIRST])
    missing = url.replace("table=billing.usage", "table=gone")
    with pytest.raises(SettingsUnusable, match="no such table or view"):
        TableUsageSource(missing, {"gone": COLUMNS["billing.usage"]}).newest()
