"""If these fail, a sender who keeps usage in a table loses what Stripe refused, or has other numbers billed."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from tests.conftest import FrozenClock
from workers.kernel.errors import FileUnusable, SettingsUnusable, Transient
from workers.records.schema import IDENTIFIER, READER_COLUMNS, ROW, SOURCE, TIMESTAMP, VALUE, WRITTEN
from workers.sources import JoinedUsageSources, StoredUsageSources, TableColumns, TableUsageSource

COLUMNS = {
    "usage": TableColumns(
        "id", "used_at", "meter", "sent_at", {"stripe_customer_id": "customer", "value": "tokens"}
    )
}
EIGHT = datetime(2026, 11, 21, 8, tzinfo=UTC)
NINE = EIGHT + timedelta(hours=1)


class Table:
    """A table of usage in a SQLite file; its times are epoch seconds."""

    def __init__(self, path: Path, clock: FrozenClock) -> None:
        self.url = f"sqlite:///{path}?table=usage"
        self.location = f"sqlite:///{path}/usage"
        self._engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
        self.run(
            "CREATE TABLE usage (id TEXT, used_at INTEGER, meter TEXT, customer TEXT, tokens TEXT, sent_at INTEGER)"
        )
        self.source = TableUsageSource(self.url, COLUMNS, clock=clock)

    def add(self, *identifiers: str | None, sent: datetime, meter: str = "calls", value: str = "1") -> None:
        at = int(sent.timestamp())
        for name in identifiers:
            self.run(
                "INSERT INTO usage VALUES (:id, :at - 5, :meter, 'cus_1', :value, :at)",
                id=name, at=at, meter=meter, value=value,
            )  # fmt: skip

    def run(self, statement: str, **values: object) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.text(statement), values)


@pytest.fixture
def table(tmp_path: Path, clock: FrozenClock) -> Table:
    return Table(tmp_path / "usage.db", clock)


def texts(frames: Iterable[pl.DataFrame]) -> list[str]:
    return [text for frame in frames for text in frame[IDENTIFIER]]


def test_an_hour_of_the_table_is_a_candidate_as_it_stood_at_the_end_of_the_window(table: Table) -> None:
    """Rows that were sent after the window would be claimed for a refusal that cannot be theirs."""
    table.add("a", "b", sent=EIGHT + timedelta(minutes=20))
    table.add("other", sent=EIGHT + timedelta(minutes=21), meter="tokens")
    table.add("late", sent=EIGHT + timedelta(minutes=50))
    table.add("next", sent=NINE)
    end = EIGHT + timedelta(minutes=30)
    (named,) = table.source.candidates(["calls"], EIGHT + timedelta(minutes=10), end).files
    assert (named.location, named.records) == (f"{table.location} 2026-11-21T08", 2)
    assert named.written == EIGHT + timedelta(minutes=21)
    (rows,) = table.source.rows_of(named, ["calls"])
    assert rows.select(IDENTIFIER, ROW, SOURCE).rows() == [("a", 1, named.location), ("b", 2, named.location)]
    assert rows[WRITTEN].unique().to_list() == [EIGHT + timedelta(minutes=20)]
    assert set(READER_COLUMNS) <= set(rows.columns)
    assert texts(table.source.rows_of(named, None)) == ["a", "b", "other"]
    assert not table.source.candidates(["Calls"], EIGHT, end).files
    assert len(table.source.candidates(None, EIGHT, NINE).files) == 2


def test_a_row_that_comes_late_into_an_hour_makes_another_version_of_it(table: Table) -> None:
    """What was counted and what is claimed would be two different sets of rows."""
    table.add("a", sent=EIGHT)
    (named,) = table.source.candidates(None, EIGHT, NINE).files
    table.add("b", sent=EIGHT)
    with pytest.raises(FileUnusable, match="written to"):
        list(table.source.rows_of(named, None))
    (renamed,) = table.source.candidates(None, EIGHT, NINE).files
    assert renamed.version != named.version
    assert texts(table.source.rows_of(renamed, None)) == ["a", "b"]


def test_no_row_is_passed_over_where_many_have_one_watermark(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch insert gives all of its rows the same time, and some have no identifier."""
    monkeypatch.setattr("workers.sources.tables._ROWS_AT_A_TIME", 2)
    table.add(None, "a", "a", "b", None, sent=EIGHT)
    (named,) = table.source.candidates(None, EIGHT, EIGHT).files
    pages = list(table.source.rows_of(named, None))
    assert max(page.height for page in pages) == 2
    assert [row for page in pages for row in page[ROW]] == [1, 2, 3, 4, 5]


def test_a_row_has_the_same_number_however_it_is_found(table: Table) -> None:
    """One refused record would be claimed as two."""
    table.add("a", "c", sent=EIGHT)
    table.add("b", sent=EIGHT, meter="tokens")
    found = table.source.find(["c", "nowhere"]).rows
    assert found.select(IDENTIFIER, ROW, TIMESTAMP).rows() == [("c", 3, str(int(EIGHT.timestamp()) - 5))]
    assert found[WRITTEN].to_list() == [EIGHT]


def test_rows_beyond_the_look_back_are_left_alone(table: Table, clock: FrozenClock) -> None:
    table.add("old", sent=clock() - timedelta(days=37))
    table.add("new", sent=clock() - timedelta(days=35))
    assert table.source.find(["old", "new"]).rows[IDENTIFIER].to_list() == ["new"]


def test_rows_of_a_meter_and_a_time_are_found_in_whatever_hour_they_were_sent(table: Table) -> None:
    """A newer value of a gauge would be overlooked, and overwritten."""
    table.add("in", sent=EIGHT + timedelta(minutes=1), meter="Gauge")
    table.add("after", sent=NINE, meter="gauge")
    table.add("other", sent=EIGHT + timedelta(minutes=1))
    table.add("milliseconds", sent=EIGHT + timedelta(minutes=2), meter="gauge")
    table.run("UPDATE usage SET used_at = used_at * 1000 WHERE id = 'milliseconds'")
    table.run("UPDATE usage SET sent_at = sent_at + 7200 WHERE id = 'in'")
    assert texts(table.source.rows(["gauge"], EIGHT, EIGHT + timedelta(minutes=10))) == ["milliseconds", "in"]


def test_usage_that_was_sent_before_by_api_is_found_for_a_file_that_was_refused(table: Table) -> None:
    """It would be billed a second time: by name, or by what it says where it has none."""
    table.add("a", None, "b", sent=EIGHT)
    table.add("a", sent=NINE)
    records = table.source.find(["a"]).rows.head(1)
    nameless = records.with_columns(pl.lit(None, pl.String).alias(IDENTIFIER))
    for told, rows in ((records, [2, 1]), (nameless, [1])):
        found = table.source.earlier(told, NINE)
        assert sorted(found[ROW].to_list()) == sorted(rows)
        assert found[WRITTEN].unique().to_list() == [EIGHT]


def test_files_and_tables_are_asked_as_one(table: Table, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.csv").write_text(
        "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value\na,1795250000,calls,cus_1,7\n"
    )
    table.add("a", sent=EIGHT)
    joined = JoinedUsageSources(StoredUsageSources([str(folder)], tmp_path / "cache"), [table.source])
    now = datetime.now(UTC)
    assert set(joined.find(["a"]).rows[VALUE]) == {"1", "7"}
    named = joined.candidates(["calls"], EIGHT, max(now, NINE)).files
    assert [
        text for one in sorted(named, key=lambda one: one.location) for text in texts(joined.rows_of(one, None))
    ]
    assert {one.location for one in named} >= {f"{table.location} 2026-11-21T08"}
    assert joined.file("a.csv", now + timedelta(minutes=1)) == folder / "a.csv"


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("ALTER TABLE usage RENAME TO used", "no such table or view"),
        ("ALTER TABLE usage DROP COLUMN tokens", "has no column tokens; it has id, used_at"),
        ("ALTER TABLE usage ADD COLUMN day TIMESTAMP", "day is TIMESTAMP, which has no time zone"),
    ],
)
def test_a_table_that_does_not_fit_is_told_with_what_where_and_how_to_mend(
    table: Table, statement: str, told: str
) -> None:
    table.run(statement)
    columns = {
        "usage": TableColumns("id", "day" if "day" in statement else "used_at", "meter", "sent_at", {"v": "tokens"})
    }
    with pytest.raises(SettingsUnusable, match=told) as refused:
        TableUsageSource(table.url, columns).find(["a"])
    assert refused.value.where == table.location
    assert refused.value.mend


def test_a_database_that_is_away_is_asked_again_later_and_its_password_is_not_told() -> None:
    source = TableUsageSource("postgresql://me:canary-4711@127.0.0.1:1/billing?table=usage", COLUMNS)
    with pytest.raises(Transient) as away:
        source.find(["a"])
    assert str(away.value).startswith("postgresql://127.0.0.1:1/billing/usage: ")
    assert "canary" not in str(away.value)


def test_a_table_that_no_rule_knows_is_told_before_anything_runs() -> None:
    with pytest.raises(SettingsUnusable, match=r"name them in \[sources\.usage\] of rules\.toml"):
        TableUsageSource("postgresql://me:secret@there/billing?table=usage", {})
    with pytest.raises(SettingsUnusable, match="names no table") as refused:
        TableUsageSource("postgresql://me:canary@there/billing", COLUMNS)
    assert "canary" not in str(refused.value)
