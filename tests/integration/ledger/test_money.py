"""If these fail, what is at risk is added up wrong, or cases are not worked on by money and time left."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from tests.builders import a_failure, a_movement
from tests.conftest import FrozenClock
from workers.kernel.ledger import Ledger, connect, schema
from workers.kernel.ledger.appraisal import Appraisal
from workers.kernel.ledger.case_facts import CaseFacts
from workers.kernel.ledger.journal import Bucket, EntryKind, Tally
from workers.kernel.money import Amount


def test_open_cases_add_up_by_currency_and_meter_and_are_due_by_money_and_time_left(
    ledger: Ledger, clock: FrozenClock
) -> None:
    """On each database: numbers within JSON and times within text are its own dialect."""
    worth = {"usd": Amount(Decimal("0.1"), Decimal("0.3"))}
    days = {"soon": 5, "late": 20, "over": -1}
    for name, ahead in days.items():
        appraisal = Appraisal(4, clock.now + timedelta(days=ahead), at_risk=worth if name == "late" else {})
        facts = CaseFacts({name: {Bucket.PENDING: Tally(4, Decimal("1.5"))}}, {}, 1)
        with (
            ledger.cases.hold(a_failure(name), "w", timedelta(minutes=1)) as held,
            held.transaction() as transaction,
        ):
            transaction.move(a_movement(records=4, quantity="1.5"))
            transaction.know(facts, appraisal)
    found = ledger.money.at_risk()
    assert (found.cases, found.records, found.unpriced, found.overdue) == (3, 12, 2, 1)
    assert isinstance(found.records, int)
    assert (found.money, found.deadline) == (worth, clock.now + timedelta(days=5))
    assert found.by_meter == dict.fromkeys(sorted(days), Tally(4, Decimal("1.5")))
    due = [ledger.cases.get(case.id) for case in ledger.cases.due(3)]
    assert [case.failure.key for case in due if case] == ["over", "soon", "late"]
    assert ledger.money.at_risk("inc_none").cases == 0


def test_what_is_settled_is_at_risk_no_more_in_the_very_same_commit(
    sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    worth = {"usd": Amount(Decimal("1e-300"), Decimal("0.3"))}
    for name in ("left", "settled"):
        facts = CaseFacts({"tokens": {Bucket.PENDING: Tally(4, Decimal("0.1"))}}, {}, 1)
        with (
            sqlite_ledger.cases.hold(a_failure(name), "w", timedelta(minutes=1)) as held,
            held.transaction() as transaction,
        ):
            transaction.move(a_movement(records=4, quantity="0.1"))
            transaction.know(facts, Appraisal(4, clock.now + timedelta(days=9), at_risk=worth))
    both = sqlite_ledger.money.at_risk()
    assert (both.records, both.money["usd"].low, both.by_meter["tokens"]) == (
        8,
        Decimal("2e-300"),
        Tally(8, Decimal("0.2")),
    )
    with (
        sqlite_ledger.cases.hold(a_failure("settled"), "w", timedelta(minutes=1)) as held,
        held.transaction() as transaction,
    ):
        for kind in (EntryKind.QUARANTINED, EntryKind.WRITTEN_OFF):
            transaction.move(a_movement(kind, records=4, quantity="0.1"))
    left = sqlite_ledger.money.at_risk()
    assert (left.cases, left.records, left.unpriced) == (1, 4, 0)
    assert (left.money, left.by_meter) == (worth, {"tokens": Tally(4, Decimal("0.1"))})


def test_what_an_earlier_release_has_kept_is_at_risk_after_it(tmp_path: Path, clock: FrozenClock) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    ledger = connect(url, clock)
    schema.upgrade(ledger.database)
    worth = {"usd": Amount(Decimal("0.1"), Decimal("0.3"))}
    facts = CaseFacts(
        {"tokens": {Bucket.PENDING: Tally(3, Decimal("1.5"))}, "": {Bucket.DEFERRED: Tally(1)}}, {}, 1
    )
    with (
        ledger.cases.hold(a_failure("a"), "w", timedelta(minutes=1)) as held,
        held.transaction() as transaction,
    ):
        transaction.move(a_movement(records=4, quantity="1.5"))
        transaction.know(facts, Appraisal(4, clock.now + timedelta(days=9), at_risk=worth))
    before = ledger.money.at_risk()
    with ledger.database.write() as connection:
        for gone in ("TABLE open_usage", "TABLE open_money", "INDEX cases_open", "INDEX cases_state_urgent"):
            connection.exec_driver_sql(f"DROP {gone}")
        for gone in ("INDEX cases_state_size", "INDEX standings_code"):
            connection.exec_driver_sql(f"DROP {gone}")
        for gone in ("cases DROP COLUMN open_records", "events DROP COLUMN erased"):
            connection.exec_driver_sql(f"ALTER TABLE {gone}")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0014'")
    schema.upgrade(ledger.database)
    assert ledger.money.at_risk() == before
    assert (before.records, before.money, before.by_meter[""]) == (4, worth, Tally(1))
    ledger.close()
