"""If these fail, the workers of one storm open an incident each, and each is told."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from threading import Barrier

from tests.builders import a_failure, open_case
from tests.conftest import FrozenClock
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.journal import Balance, Tally

GAP = timedelta(minutes=15)


def test_workers_that_note_cases_of_one_cause_at_the_same_instant_open_one_incident(ledger: Ledger) -> None:
    one_record = Balance(Tally(1, Decimal(1)))
    cases = [replace(open_case(ledger, a_failure(f"import_set:{n}")), balance=one_record) for n in range(4)]
    together = Barrier(len(cases))

    def note(case: Case) -> None:
        together.wait(10)
        ledger.incidents.note(case, "the same", {}, GAP)

    with ThreadPoolExecutor(len(cases)) as workers:
        list(workers.map(note, cases))
    [incident] = ledger.incidents.recent(10)
    assert (incident.cases, incident.records) == (4, 4)
    assert ledger.incidents.case_ids(incident.id) == sorted(case.id for case in cases)


def test_a_case_that_changes_while_it_is_spoken_of_is_looked_at_again(ledger: Ledger, clock: FrozenClock) -> None:
    """What changed in that second would never be told."""
    case = replace(open_case(ledger, a_failure()), balance=Balance(Tally(1)))
    ledger.incidents.note(case, "one", {}, GAP)
    [spoken_of] = ledger.incidents.due(timedelta(0), GAP)
    clock.turn(seconds=1)
    ledger.incidents.note(case, "one", {}, GAP)
    ledger.incidents.looked_at(spoken_of, {"records": 1}, due_at=None, over=True)
    [again] = ledger.incidents.due(timedelta(0), GAP)
    assert (again.said, again.over_at) == ({"records": 1}, None)
    ledger.incidents.looked_at(again, again.said, due_at=None, over=True)
    assert ledger.incidents.due(timedelta(0), GAP) == []
