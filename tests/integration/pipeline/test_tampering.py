"""If these fail, somebody with the database's password changes what was refused or billed, and `prove` holds."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings

from fixtures.twin import Twin
from tests.integration.pipeline.loop import Loop, SteeredClock, usage
from workers.archive import Archive
from workers.kernel.clock import from_epoch, to_text
from workers.kernel.ledger import Ledger, connect, tables, totals
from workers.kernel.ledger.case import Failure
from workers.kernel.ledger.events import RECEIPT
from workers.kernel.ledger.hash_chain import COVERED, entry_hash, genesis
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.links import extend
from workers.kernel.ledger.tables import UtcTime, metadata
from workers.kernel.storage import open_store
from workers.pipeline.audit.anchor import Anchor, take
from workers.pipeline.audit.prove import CaseProof, prove

pytestmark = pytest.mark.xdist_group("tampering")

COVERED_COLUMNS = {
    "cases": [*Failure.__dataclass_fields__, "id", "state", "version", "head", "balance", "opened_at"],
    "entries": [*COVERED, "hash"],
    "submissions": [column.name for column in metadata.tables["submissions"].columns],
    "events": [*RECEIPT, "raw"],
    "links": [column.name for column in metadata.tables["links"].columns],
    "case_totals": ["lane", "totals"],
}
"""What `prove` answers for. The rest of a case and of an event is working state: leases, due times, trouble."""

AMBIGUOUS = 'i3,{t},api_requests,cus_3,"1,234"'


@dataclass
class Company:
    """What one company's ledger and archive hold, to be tampered with; `case` was confirmed."""

    folder: Path
    case: str
    now: datetime

    @property
    def ledger(self) -> Ledger:
        return connect(f"sqlite:///{self.folder / 'ledger.db'}", lambda: self.now)

    @property
    def archive(self) -> Archive:
        return Archive(open_store(str(self.folder / "archive")), self.folder / "scratch")

    def run(self, *statements: str) -> None:
        """Write to the database as somebody who knows its schema and has its password."""
        with sqlite3.connect(self.folder / "ledger.db") as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            for statement in statements:
                connection.execute(statement)
        connection.close()

    def ask(self, query: str) -> list[Any]:
        with sqlite3.connect(self.folder / "ledger.db") as connection:
            rows = connection.execute(query).fetchall()
        connection.close()
        return rows

    def breaches(self, against: Anchor | None = None) -> list[CaseProof]:
        ledger = self.ledger
        found = [proof for proof in prove(ledger, self.archive, against=against) if proof.breach]
        ledger.close()
        return found

    def anchor(self) -> Anchor:
        ledger = self.ledger
        taken = take(ledger, self.now)
        ledger.close()
        return taken

    def copied_to(self, folder: Path) -> "Company":
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Company(folder, self.case, self.now)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Company:
    """A day on which two records were repaired and confirmed, one waits for a person, and one more was refused."""
    folder = tmp_path_factory.mktemp("company")
    shutil.copy(migrated_sqlite, folder / "ledger.db")
    clock = SteeredClock()
    ledger = connect(f"sqlite:///{folder / 'ledger.db'}", clock)
    (folder / "bucket").mkdir()
    with Twin(bucket=f"file://{folder / 'bucket'}", poll_seconds=1e9) as twin:
        twin.add_meter("api_requests")
        twin.add_customers(["cus_1", "cus_2", "cus_3"])
        loop = Loop(folder, twin, ledger, clock)
        loop.upload("a.csv", usage("i1,{t},api_requests,cus_1,+5", "i2,{t},api_requests,cus_2,+7", AMBIGUOUS))
        clock.turn(seconds=15)
        twin.clock.advance(15)
        an_hour_ago = f"{datetime.now(UTC) - timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}"
        loop.upload("b.csv", usage(f"j1,{an_hour_ago},api_requests,cus_1,9"))
        loop.stripe_works()
        loop.pass_window()
        case = next(case.id for case in loop.cases() if case.balance[Bucket.CONFIRMED].records)
    ledger.close()
    return Company(folder, case, clock())


@pytest.fixture
def company(played: Company, tmp_path: Path) -> Company:
    return played.copied_to(tmp_path / "company")


@pytest.fixture
def anchor(company: Company) -> Anchor:
    return company.anchor()


def files(company: Company, *, evidence: bool) -> list[Path]:
    kept = sorted(path for path in (company.folder / "archive").rglob("*") if path.is_file())
    named = {Path(name).name for (name,) in company.ask("SELECT record_set FROM entries WHERE record_set NOT NULL")}
    return [path for path in kept if (path.name in named) is not evidence]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def flip_a_bit_of_a_record_set(company: Company) -> None:
    flip(files(company, evidence=False)[0])


def delete_a_record_set(company: Company) -> None:
    files(company, evidence=False)[0].unlink()


def flip_a_bit_of_the_evidence(company: Company) -> None:
    flip(next(path for path in files(company, evidence=True) if path.name.startswith("failed-records")))


def delete_the_evidence(company: Company) -> None:
    next(path for path in files(company, evidence=True) if path.name.startswith("failed-records")).unlink()


def delete_the_last_entry(company: Company) -> None:
    company.run(f"DELETE FROM entries WHERE case_id = '{company.case}' AND number = {last(company)[0]}")


def delete_the_last_entry_and_move_the_head(company: Company) -> None:
    """Leave the case as it was before its records were confirmed, with every sum right."""
    number, previous, source, to, records, quantity, submission = last(company)
    balance = json.loads(company.ask(f"SELECT balance FROM cases WHERE id = '{company.case}'")[0][0])
    for bucket, sign in ((to, -1), (source, 1)):
        balance[bucket]["records"] += sign * records
        balance[bucket]["quantity"] = format(Decimal(balance[bucket]["quantity"]) + sign * Decimal(quantity), "f")
    company.run(
        f"DELETE FROM entries WHERE case_id = '{company.case}' AND number = {number}",
        f"UPDATE cases SET head = '{previous}', version = {number - 1}, balance = '{json.dumps(balance)}', "
        f"state = 'awaiting_confirmation' WHERE id = '{company.case}'",
        f"UPDATE submissions SET state = 'sent' WHERE id = '{submission}'",
    )


def last(company: Company) -> Any:
    columns = "number, previous, from_bucket, to_bucket, records, quantity, submission_id"
    query = f"SELECT {columns} FROM entries WHERE case_id = '{company.case}' ORDER BY number DESC LIMIT 1"
    return company.ask(query)[0]


def delete_the_case(company: Company) -> None:
    company.run(
        f"DELETE FROM entries WHERE case_id = '{company.case}'",
        f"DELETE FROM submissions WHERE case_id = '{company.case}'",
        f"DELETE FROM submission_turns WHERE submission_id LIKE '{company.case}%'",
        f"DELETE FROM cases WHERE id = '{company.case}'",
    )


def swap_two_record_sets(company: Company) -> None:
    query = f"SELECT number, record_set, record_set_sha256 FROM entries WHERE case_id = '{company.case}'"
    one, other = [row for row in company.ask(query) if row[1]][:2]
    company.run(
        f"UPDATE entries SET record_set = '{other[1]}', record_set_sha256 = '{other[2]}' "
        f"WHERE case_id = '{company.case}' AND number = {one[0]}"
    )


def write(statement: str) -> Callable[[Company], None]:
    return lambda company: company.run(statement.format(case=company.case))


TAMPERINGS: dict[str, tuple[Callable[[Company], None], str]] = {
    "a bit of a record set": (flip_a_bit_of_a_record_set, "has the digest"),
    "a record set is gone": (delete_a_record_set, "does not exist"),
    "a bit of Stripe's failed records": (flip_a_bit_of_the_evidence, "has the digest"),
    "Stripe's failed records are gone": (delete_the_evidence, "does not exist"),
    "a quantity": (
        write("UPDATE entries SET quantity = '6' WHERE case_id = '{case}' AND number = 1"), "entry 1 was altered"
    ),
    "who approved": (
        write("UPDATE entries SET actor = 'ceo' WHERE case_id = '{case}' AND number = 2"), "entry 2 was altered"
    ),
    "the last entry is gone": (delete_the_last_entry, "are missing"),
    "a middle entry is gone": (
        write("DELETE FROM entries WHERE case_id = '{case}' AND number = 2"), "entry 2 is missing"
    ),
    "the last entry is gone with its head": (delete_the_last_entry_and_move_the_head, "it is missing: link"),
    "a case is gone": (delete_the_case, "it is missing: link"),
    "the account": (write("UPDATE cases SET account = 'acct_x' WHERE id = '{case}'"), "its account is 'acct_x'"),
    "the mode": (write("UPDATE cases SET livemode = 1 WHERE id = '{case}'"), "its livemode is True"),
    "the summary": (write("UPDATE cases SET summary = 'nothing' WHERE id = '{case}'"), "its summary is 'nothing'"),
    "when it was opened": (
        write("UPDATE cases SET opened_at = '2026-01-01T00:00:00.000000Z' WHERE id = '{case}'"), "its opened_at is"
    ),
    "a state that is none": (write("UPDATE cases SET state = 'lost' WHERE id = '{case}'"), "cannot be read"),
    "a submission's quantity": (
        write("UPDATE submissions SET quantity = '1' WHERE case_id = '{case}'"), "is not what the entry says"
    ),
    "Stripe's verdict": (
        write("UPDATE submissions SET verdict = 'failed' WHERE case_id = '{case}'"), "its verdict is 'failed'"
    ),
    "where it was sent": (
        write("UPDATE submissions SET location = 'elsewhere' WHERE case_id = '{case}'"), "its location is"
    ),
    "settled, as if it were not": (
        write("UPDATE submissions SET state = 'sent' WHERE case_id = '{case}'"), "its state is"
    ),
    "an event's body": (write("UPDATE events SET raw = x'7b7d'"), "the body was altered"),
    "an event's body is gone": (write("UPDATE events SET raw = NULL"), "retention has not come to it"),
    "an event's account": (write("UPDATE events SET account = 'acct_x'"), "is not what was received"),
    "the events are gone": (write("DELETE FROM events WHERE state = 'done'"), "is missing"),
    "a record set for another": (swap_two_record_sets, "entry 1 was altered"),
    "a link": (write("UPDATE links SET version = version + 1 WHERE case_id = '{case}'"), "was altered"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_hand_in_the_database_or_in_the_archive_is_seen(company: Company, name: str) -> None:
    tamper, said = TAMPERINGS[name]
    tamper(company)
    found = [proof.breach.what for proof in company.breaches() if proof.breach]
    assert any(said in what for what in found), f"{name} went unnoticed: {found}"
    assert not any("\n" in what for what in found)


def test_what_nobody_touched_holds_also_against_an_anchor(company: Company) -> None:
    assert company.breaches() == []
    assert company.breaches(company.anchor()) == []


def forge(company: Company) -> None:
    """Compute every hash of every chain anew, as somebody can who has read this code."""
    ledger = company.ledger
    with ledger.database.write() as connection:
        connection.execute(sa.delete(tables.links))
        for row in connection.execute(sa.select(tables.cases)).mappings().all():
            previous = genesis(row["key"])
            mine = tables.entries.c.case_id == row["id"]
            book = connection.execute(sa.select(tables.entries).where(mine).order_by(tables.entries.c.number))
            entries = [dict(entry) for entry in book.mappings()]
            for entry in entries:
                entry["previous"], entry["hash"] = previous, entry_hash({**entry, "previous": previous})
                previous = entry["hash"]
            connection.execute(sa.delete(tables.entries).where(mine))
            connection.execute(sa.insert(tables.entries), entries)
            connection.execute(sa.update(tables.cases).where(tables.cases.c.id == row["id"]).values(head=previous))
            extend(connection, row["id"], len(entries), previous)
        totals.recount(connection)
    ledger.close()


FORGERIES: dict[str, tuple[Callable[[Company], None], str]] = {
    "who wrote an entry": (
        write("UPDATE entries SET actor = 'ceo' WHERE case_id = '{case}' AND number = 2"), "it was altered"
    ),
    "the last entry is gone with its head": (delete_the_last_entry_and_move_the_head, "it is missing since"),
    "a case is gone": (delete_the_case, "it is missing since"),
    "an event that led to nothing is gone": (
        write("DELETE FROM events WHERE id NOT IN (SELECT event_id FROM entries WHERE event_id NOT NULL)"),
        "events instead of",
    ),
    "an event that led to nothing is another's": (
        write(
            "UPDATE events SET account = 'acct_x'"
            "WHERE id NOT IN (SELECT event_id FROM entries WHERE event_id NOT NULL)"
        ),
        "altered events were received",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_who_computes_every_hash_anew_is_found_by_an_anchor_kept_elsewhere(company: Company, name: str) -> None:
    tamper, said = FORGERIES[name]
    anchor = company.anchor()
    tamper(company)
    forge(company)
    assert company.breaches() == [], "the forgery is not good enough to need an anchor"
    found = [proof.breach.what for proof in company.breaches(anchor) if proof.breach]
    assert any(said in what for what in found), f"{name} went unnoticed: {found}"


def other(value: Any, column: sa.Column[Any]) -> st.SearchStrategy[Any]:
    """Another value that the column could hold, perhaps of the wrong sort."""
    if isinstance(value, bytes):
        return st.binary(max_size=20).filter(lambda new: new != value)
    if isinstance(column.type, sa.Boolean):
        return st.just(1 - int(value))
    if isinstance(value, int):
        return st.integers(-(2**40), 2**40).filter(lambda new: new != value)
    texts = st.text('abcxyz019.-_ "{}[]', max_size=20)
    if isinstance(column.type, UtcTime):
        texts = st.integers(0, 2**31).map(lambda seconds: to_text(from_epoch(seconds)))
    nothing = st.none() if column.nullable else st.nothing()
    return (texts | nothing).filter(lambda new: new != value)


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_no_value_that_prove_answers_for_can_be_changed_and_no_row_removed(
    company: Company, anchor: Anchor, data: st.DataObject
) -> None:
    table = data.draw(st.sampled_from(sorted(COVERED_COLUMNS)))
    column = data.draw(st.sampled_from([None, *COVERED_COLUMNS[table]]))
    rows = company.ask(f"SELECT rowid, {column or 1} FROM {table}")
    rowid, value = data.draw(st.sampled_from(rows))
    kept = (company.folder / "ledger.db").read_bytes()
    with sqlite3.connect(company.folder / "ledger.db") as connection:
        if column is None:
            connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))
        else:
            new = data.draw(other(value, metadata.tables[table].c[column]))
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, rowid))
    connection.close()
    try:
        assert company.breaches(anchor), f"{table}.{column} of {value!r} was changed, and nobody noticed"
    finally:
        for path in company.folder.glob("ledger.db*"):
            path.unlink()
        (company.folder / "ledger.db").write_bytes(kept)
