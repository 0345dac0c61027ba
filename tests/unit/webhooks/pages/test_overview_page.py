"""The first page. If these fail, whoever is on call does not see what is lost next, or that nobody works on it."""

from datetime import timedelta

import pytest

from tests.builders import a_failure, a_movement, open_case
from tests.conftest import FrozenClock
from tests.unit.webhooks.pages.conftest import HOSTILE, LONG, Look
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.appraisal import Appraisal
from workers.kernel.ledger.case import VALIDATION_REPORT
from workers.kernel.ledger.case_facts import CaseFacts
from workers.kernel.ledger.events import NewEvent
from workers.kernel.ledger.heartbeats import Sign
from workers.kernel.ledger.journal import Balance, Bucket, EntryKind, Tally
from workers.kernel.ledger.standings import Cause, Standing
from workers.kernel.ledger.totals import Totals
from workers.kernel.money import Amount


def refused(
    ledger: Ledger, clock: FrozenClock, name: str, meter: str = "tokens", days_left: float = 2, **about: str
) -> str:
    """A case of one meter that waits for a person, of so much money, and until when."""
    case = open_case(ledger, a_failure(name, kind=VALIDATION_REPORT, event_name=meter, **about))
    with ledger.cases.hold(case.id, "one", timedelta(minutes=5)) as held, held.transaction() as draft:
        draft.move(a_movement(EntryKind.SEEN, 12, "4800.255"), a_movement(EntryKind.QUARANTINED, 12, "4800.255"))
        tally = draft.balance[Bucket.QUARANTINED]
        waits = [Standing(Bucket.QUARANTINED, Cause(case.failure.code or "", "", meter[:100]), tally)]
        lost, money = clock() + timedelta(days=days_left), {"usd": Amount(tally.quantity, tally.quantity * 2)}
        draft.know(
            CaseFacts({meter: {Bucket.QUARANTINED: tally}}, {}, 1, waits), Appraisal(12, lost, at_risk=money)
        )
        draft.reschedule(None)
    return case.id


def lives(ledger: Ledger) -> None:
    for sign in (Sign.WORKER, Sign.CLOCK, Sign.ARCHIVE, Sign.WEBHOOK):
        ledger.heartbeats.beat(sign)


def test_an_empty_ledger_says_so_and_draws_nothing(look: Look, sqlite_ledger: Ledger) -> None:
    lives(sqlite_ledger)
    page = look("/")
    assert "No case waits for a person." in page
    assert "<svg viewBox" not in page
    assert "alarm" not in page


def test_what_is_at_risk_is_told_in_records_money_and_time_left_and_per_meter(
    look: Look, sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    refused(sqlite_ledger, clock, "a", days_left=3)
    refused(sqlite_ledger, clock, "b", "minutes", days_left=1.5)
    page = look("/")
    assert "USD 9,600.51 to 19,201.02" in page
    assert "1 d 12 h" in page
    assert 'title="4800.255"' in page
    assert "9,600" not in page.replace("9,600.51", ""), "over meters nothing is added"
    assert "/console/cases?meter=minutes" in page
    assert "/console/cases?meter=tokens" in page


def test_the_charts_tell_in_words_what_they_draw(look: Look, sqlite_ledger: Ledger, clock: FrozenClock) -> None:
    refused(sqlite_ledger, clock, "a", code="no_meter")
    clock.turn(days=1)
    page = look("/")
    assert "In 30 days 12 records were refused and 0 recovered; at most 12 a day." in page
    assert "12 records wait now; 30 days ago 0 did, at most 12." in page
    assert "no_meter: 12 waiting." in page


def test_what_comes_first_is_what_is_lost_first(look: Look, sqlite_ledger: Ledger, clock: FrozenClock) -> None:
    later = refused(sqlite_ledger, clock, "a", days_left=20)
    sooner = refused(sqlite_ledger, clock, "b", days_left=1)
    page = look("/")
    assert page.index(sooner) < page.index(later)


@pytest.mark.parametrize(("sign", "said"), [(Sign.WORKER, "no worker runs"), (Sign.CLOCK, "no clock runs")])
def test_a_part_that_is_dead_is_told_with_its_mend(
    look: Look, sqlite_ledger: Ledger, clock: FrozenClock, sign: Sign, said: str
) -> None:
    lives(sqlite_ledger)
    clock.turn(minutes=10)
    for other in {Sign.WORKER, Sign.CLOCK, Sign.ARCHIVE, Sign.WEBHOOK} - {sign}:
        sqlite_ledger.heartbeats.beat(other)
    page = look("/")
    assert said in page
    assert f"<code>metermend {sign}</code>" in page
    assert page.count('class="panel alarm"') == 1


def test_an_event_that_nobody_takes_up_is_told(look: Look, sqlite_ledger: Ledger, clock: FrozenClock) -> None:
    sqlite_ledger.events.record(NewEvent("evt_1", "thin", "x", livemode=False, raw=b"{}"))
    clock.turn(hours=3)
    assert "3 h 0 min" in look("/")


def test_names_that_mean_no_good_are_only_shown(look: Look, sqlite_ledger: Ledger, clock: FrozenClock) -> None:
    refused(sqlite_ledger, clock, "a", HOSTILE, code=HOSTILE, summary=HOSTILE)
    case_id = refused(sqlite_ledger, clock, "b", LONG * 3, code=LONG * 3)
    with sqlite_ledger.cases.hold(case_id, "one", timedelta(minutes=5)) as held, held.transaction() as draft:
        draft.record_failure(HOSTILE, None)
    assert "&lt;script&gt;" in look("/")


def test_an_equation_that_does_not_hold_is_told(
    look: Look, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Totals(Balance(Tally(1_200), {}))
    monkeypatch.setattr(sqlite_ledger.totals, "of_all", lambda: broken)
    assert "The equation does not hold." in look("/")


def test_more_codes_than_are_drawn_are_counted(look: Look, sqlite_ledger: Ledger) -> None:
    case_id = open_case(sqlite_ledger, a_failure()).id
    waits = [Standing(Bucket.QUARANTINED, Cause(f"code_{each}"), Tally(each)) for each in range(1, 11)]
    with sqlite_ledger.cases.hold(case_id, "one", timedelta(minutes=5)) as held, held.transaction() as draft:
        draft.move(a_movement(EntryKind.SEEN, 55))
        draft.know(CaseFacts({}, {}, 1, waits), Appraisal(55, None))
    page = look("/")
    assert "2 more codes are not drawn" in page
    assert page.index("code_10") < page.index("code_9")
