"""If these fail, one bad upload buries the channel in messages, or the one that asks for something never comes."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from tests.books import Book, a_context
from tests.builders import a_failure
from tests.conftest import FrozenClock
from tests.recording import RecordingAlerts
from tests.unit.alerts.test_slack import buttons, shown
from tests.unit.pipeline.notify.storm import CODE, Storm, headlines
from workers.alerts import Alert, Notice
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.case_facts import NameKind, keep_names
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.kernel.ledger.tables import cases, incident_cases, incidents
from workers.kernel.reasons import PERHAPS_SENT_BEFORE
from workers.pipeline.case_facts import facts_of
from workers.pipeline.context import Context
from workers.pipeline.notify import deliver, tell
from workers.pipeline.notify.cause import cause_of, pattern_of
from workers.pipeline.record_sets import movement
from workers.records.schema import REASON, SUGGESTION

WAITS, SENT, BACK = {Bucket.QUARANTINED: 1}, {Bucket.SUBMITTED: 1}, {Bucket.CONFIRMED: 1}


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    made = a_context(sqlite_ledger, tmp_path, clock)
    settings = made.settings.model_copy(update={"console_url": "https://ops.example.com"})
    return replace(made, settings=settings)


@pytest.fixture
def storm(context: Context) -> Storm:
    return Storm(context)


def told(context: Context, **by: float) -> list[Alert]:
    """Let time pass and the clock have its turn; return what was said in it."""
    clock, alerts = context.clock, context.alerts
    assert isinstance(clock, FrozenClock)
    assert isinstance(alerts, RecordingAlerts)
    alerts.posted.clear()
    clock.turn(**(by or {"seconds": 5}))
    deliver(context)
    return list(alerts.posted)


def test_five_hundred_files_with_a_bad_row_each_are_told_in_two_messages(
    context: Context, storm: Storm, clock: FrozenClock
) -> None:
    """Nobody reads the five hundredth message, nor the one among them that mattered."""
    messages: list[str] = []
    storm.open(500)
    for n in range(500):
        storm.case(n, WAITS)
        clock.turn(seconds=0.12)
        if n % 50 == 49:
            messages += headlines(told(context, seconds=0))
    messages += headlines(told(context))
    what = "rows of usage-*.csv were refused for their format"
    assert messages[0].startswith(f"{what}: ")
    assert [message.split(": ")[1].split(",")[0] for message in messages] == ["50 cases", "500 cases"]
    [incident] = context.ledger.incidents.recent(10)
    assert (incident.cases, incident.records) == (500, 500)


def test_a_message_about_many_cases_says_what_to_do_first(
    context: Context, storm: Storm, clock: FrozenClock
) -> None:
    """At three in the morning the engineer sees how much it is, until when, why it waits, and the next command."""
    for n in range(3):
        storm.case(n, {Bucket.QUARANTINED: 2, Bucket.SUBMITTED: 5}, livemode=True, account="acct_1")
    [notice] = told(context)
    [incident] = context.ledger.incidents.recent(10)
    text = shown(notice)
    for part in (
        "rows of usage-*.csv were refused for their format: 3 cases, 21 refused, 15 resubmitted, 6 need a person",
        f"{incident.id} · acct_1 · LIVE",
        "3 cases of one cause: 21 (readable quantity 21) refused: 15 (readable quantity 15) repaired",
        f"`{CODE}` 21 (readable quantity 21) refused",
        "6: unknown customer (meter_event_customer_not_found). Nearest known id: cus_9.",
        "Oldest open usage: Wed 18 Nov 2026 09:30 UTC.",
        f"`metermend retry {incident.id}`",
        f"metermend cases --incident {incident.id}",
        "(`metermend quarantine CASE`), say who is meant (`metermend map customer OLD NEW`), or mend their cause",
    ):
        assert part in text, text
    assert buttons(notice) == {
        "Open in the console": f"https://ops.example.com/console/cases?incident={incident.id}"
    }


def test_a_single_case_is_told_as_itself(context: Context, storm: Storm, clock: FrozenClock) -> None:
    case_id = storm.case(7, {Bucket.QUARANTINED: 2, Bucket.CONFIRMED: 1})
    [notice] = told(context)
    text = shown(notice)
    for part in (
        "rows of usage-7.csv were refused for their format: 3 refused, 1 recovered, 2 need a person",
        f"{case_id} · test mode",
        f"`metermend retry {case_id}`",
        f"`metermend quarantine {case_id}`",
    ):
        assert part in text, text
    page = f"https://ops.example.com/console/cases/{case_id}"
    assert buttons(notice) == {
        "Open in the console": page,
        "Map a customer": f"{page}?act=map_customer#act-map_customer",
        "Retry": f"{page}?act=retry#act-retry",
        "Billed otherwise": f"{page}?act=corrected#act-corrected",
        "Write off": f"{page}?act=write_off#act-write_off",
    }


def test_what_may_be_billed_already_is_not_to_be_planned_anew(context: Context, storm: Storm) -> None:
    """`retry` would leave it where it is, and whoever ran it would think that it went."""
    case_id = storm.case(7, WAITS, reason=PERHAPS_SENT_BEFORE)
    [notice] = told(context)
    assert "look in Stripe whether they are billed already" in shown(notice)
    assert f"`metermend release {case_id} --reason WHY`" in shown(notice)
    assert list(buttons(notice)) == ["Open in the console", "Release", "Billed otherwise", "Write off"]


def test_it_is_told_again_when_it_has_ten_times_the_records_and_not_before(context: Context, storm: Storm) -> None:
    storm.case(0, {Bucket.QUARANTINED: 10})
    assert len(told(context)) == 1
    storm.case(1, {Bucket.QUARANTINED: 89})
    assert told(context) == []
    storm.case(2, WAITS)
    [again] = headlines(told(context))
    assert "3 cases, 100 refused" in again


def test_it_is_told_again_when_something_else_is_asked_for(context: Context, storm: Storm) -> None:
    """The engineer mends the customers, goes back to bed, and the meter stays archived."""
    storm.case(0, WAITS)
    assert len(told(context)) == 1
    storm.case(1, WAITS, reason="archived_meter")
    assert len(told(context)) == 1
    storm.case(0, SENT)
    storm.case(2, WAITS, reason="archived_meter")
    assert told(context) == []
    storm.case(3, WAITS)
    assert len(told(context)) == 1, "it was mended, and is asked for anew"


def test_it_is_over_once_all_is_settled_and_no_other_came_for_a_while(context: Context, storm: Storm) -> None:
    for n in range(2):
        storm.case(n, WAITS)
    assert len(told(context)) == 1
    storm.case(0, BACK)
    assert told(context, minutes=20) == []
    storm.case(1, BACK)
    [over] = told(context)
    assert over.headline == (
        "Over: rows of usage-*.csv were refused for their format: 2 cases, 2 refused, 2 recovered"
    )
    assert told(context, days=1) == []


def test_what_mends_itself_is_told_once(context: Context, storm: Storm) -> None:
    """A message that it begins and one that it is over would both ask for nothing."""
    storm.case(0, SENT)
    assert told(context) == []
    storm.case(0, BACK)
    assert len(told(context)) == 1
    assert told(context, hours=1) == []
    [incident] = context.ledger.incidents.recent(1)
    assert incident.over_at is not None


def test_cases_of_other_causes_and_of_later_days_are_other_incidents(context: Context, storm: Storm) -> None:
    """The second one would be taken for the first, which somebody is at already."""
    storm.case(0, WAITS)
    storm.case(1, WAITS, account="acct_1")
    storm.case(2, WAITS, livemode=True)
    Storm(context, "rows of tokens-{n}.csv were refused for their format").case(3, WAITS)
    assert len(told(context)) == 4
    assert told(context, minutes=16) == []
    storm.case(4, WAITS)
    assert len(told(context)) == 1


def test_a_cause_that_goes_on_for_days_is_told_each_day(context: Context, storm: Storm) -> None:
    """Somebody who takes over would never hear of it, and each look would go through all of its cases."""
    settings = context.settings.model_copy(update={"incident_gap": 6 * 3600})
    storm.context = context = replace(context, settings=settings)
    messages: list[str] = []
    for n in range(9):
        storm.case(n, WAITS)
        messages += headlines(told(context, hours=5))
    assert len(messages) == 2
    assert [incident.cases for incident in context.ledger.incidents.recent(10)] == [4, 5]


def test_a_cause_is_the_code_and_meter_or_what_was_wrong_with_files_of_a_name() -> None:
    """Two meters whose names end in numbers are no storm of one."""
    report = a_failure(kind="validation_report", code=CODE, meter_id=None)
    assert cause_of(replace(report, event_name="gpt_4")) != cause_of(replace(report, event_name="gpt_5"))
    for name in ("usage-2026-11-28T09.csv", "usage-0007.csv"):
        assert pattern_of(f"{name} was refused whole") == "usage-*.csv was refused whole"
    assert pattern_of("rows of impset_1Ab") == pattern_of("rows of impset_9Zz")


def test_the_end_of_a_cases_turn_notes_it_once_for_each_change(context: Context, clock: FrozenClock) -> None:
    """A turn that changes nothing would write to the ledger, and a crash before it is remembered would lose it."""
    book = Book(context, count=3)
    ref = book.keep([0, 1, 2], **{REASON: "unknown_customer", SUGGESTION: "Nearest known id: cus_9."})
    with book.held() as held, held.transaction() as transaction:
        route = (Bucket.PENDING, Bucket.QUARANTINED)
        transaction.move(movement(context, EntryKind.QUARANTINED, route, ref))
    with book.held() as held:
        meaning = tell(context, held)
        assert meaning is not None
        assert tell(context, held) == meaning, "noted again, as after a crash"
        with held.transaction() as transaction:
            transaction.alerted(meaning)
            transaction.know(*facts_of(context, held))
        assert tell(context, held) is None
    [incident] = context.ledger.incidents.recent(10)
    assert (incident.cases, incident.records) == (1, 3)
    [notice] = told(context)
    assert isinstance(notice, Notice)
    assert [(one.reason, one.records) for one in notice.reasons] == [("unknown_customer", 3)]
    assert notice.about == {"Customers": "cus_1", "Files": "usage.csv", "Open": "4.5 api_calls"}
    assert "Lost by Sat 26 Dec 2026 09:29 UTC: its oldest open usage is too old to bill" in shown(notice)
    assert ".parquet" not in shown(notice), "nobody can open what is in the archive"


def test_of_many_names_a_few_are_told_and_the_others_are_counted(context: Context, storm: Storm) -> None:
    """The names of those whom most cases are about say more than a thousand do."""
    names = [{f"cus_{n}" for n in range(9)}, {"cus_7"}, {"cus_7", "cus_3"}]
    for n, customers in enumerate(names):
        case_id = storm.case(n, WAITS)
        with context.ledger.database.write() as connection:
            keep_names(connection, case_id, {NameKind.CUSTOMER: customers})
    [notice] = told(context)
    assert isinstance(notice, Notice)
    assert notice.about == {"Customers": "cus_7, cus_3, cus_0 and 6 more"}
    with context.ledger.database.write() as connection:
        keep_names(connection, case_id, {NameKind.CUSTOMER: {f"more_{n:04}" for n in range(2_000)}})
    storm.case(3, WAITS, reason="archived_meter")
    [notice] = told(context)
    assert isinstance(notice, Notice)
    assert notice.about == {"Customers": "cus_7, cus_3, cus_0 and at least 1,004 more"}


def test_customers_with_open_usage_are_named_before_all_others(context: Context, storm: Storm) -> None:
    """Of a thousand customers in a file, the one whose usage waits is the one to look for."""
    names = {NameKind.CUSTOMER: {f"cus_{n}" for n in range(50)}, NameKind.METER: {"api_calls", "mtr_1"}}
    for n, payers in enumerate((["cus_7", "cus_8"], ["cus_9", "cus_7"], [])):
        case_id = storm.case(n, WAITS)
        with context.ledger.database.write() as connection:
            keep_names(connection, case_id, names)
            connection.execute(update(cases).where(cases.c.id == case_id).values(payers=payers))
    [notice] = told(context)
    assert isinstance(notice, Notice)
    assert set(notice.about["Customers"].split(", ")) == {"cus_7", "cus_8", "cus_9"}
    assert notice.about["Meters"] == "api_calls", "nobody calls a meter by its id"


def test_an_incident_that_is_lost_is_opened_anew(context: Context, storm: Storm) -> None:
    """It is a view: no case waits for it, and none is lost with it."""
    storm.case(0, WAITS)
    told(context)
    with context.ledger.database.write() as connection:
        connection.execute(delete(incident_cases))
        connection.execute(delete(incidents))
    storm.case(0, WAITS)
    assert len(told(context)) == 1
