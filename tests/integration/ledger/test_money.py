"""If these fail, what is at risk is added up wrong, or cases are not worked on by money and time left."""

from datetime import timedelta
from decimal import Decimal

from tests.builders import a_failure, a_movement
from tests.conftest import FrozenClock
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.appraisal import Appraisal
from workers.kernel.ledger.case_facts import CaseFacts
from workers.kernel.ledger.journal import Bucket, Tally
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
    assert (found.money, found.deadline) == (worth, clock.now + timedelta(days=5))
    assert found.by_meter == dict.fromkeys(sorted(days), Tally(4, Decimal("1.5")))
    due = [ledger.cases.get(case.id) for case in ledger.cases.due(3)]
    assert [case.failure.key for case in due if case] == ["over", "soon", "late"]
    assert ledger.money.at_risk("inc_none").cases == 0
