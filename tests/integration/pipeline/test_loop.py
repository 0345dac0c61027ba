"""From a refusal to usage that counts. Each test says what the company, or its customer, would lose."""

import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.integration.pipeline.loop import Loop, usage
from workers.kernel.clock import from_epoch
from workers.kernel.errors import Transient
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.appraisal import at_risk
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.journal import Bucket
from workers.kernel.money import written
from workers.pipeline.run import carry_on, process
from workers.pipeline.upkeep.appraise import appraise
from workers.records.catalog import Catalog
from workers.records.validation import Standard
from workers.sources import Candidate, Candidates, FoundUsage, UsageSources
from workers.targets import Outgoing, Progress, Sent


def test_a_padded_customer_id_is_repaired_and_billed_once(loop: Loop) -> None:
    """Without it the usage of a customer with a blank in its id is never invoiced."""
    loop.upload("day.csv", usage("use-1,{t},api_requests, cus_1,40", "use-2,{t},api_requests,cus_1,2"))
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "42"}
    assert loop.balance[Bucket.CONFIRMED].records == 1
    assert [case.state for case in loop.cases()] == [CaseState.SETTLED]


def test_a_row_refused_for_its_form_keeps_its_identifier(loop: Loop) -> None:
    """A new identifier would hide from Stripe that both are the same usage."""
    loop.upload("day.csv", usage("use-1,2026-11-20T10:00:00Z,api_requests,cus_1,40"))
    loop.stripe_works()
    loop.pass_window()
    assert [accepted.identifier for accepted in loop.twin.accepted()] == ["use-1"]
    assert loop.balance[Bucket.CONFIRMED].records == 1


def test_a_record_refused_for_its_data_gets_the_next_revisions_identifier(loop: Loop) -> None:
    """Stripe may remember the first identifier and drop the repaired record as a duplicate."""
    loop.upload("day.csv", usage("use-1,{t},api_requests, cus_1,40"))
    loop.stripe_works()
    assert [accepted.identifier for accepted in loop.twin.accepted()] == ["use-1~r2"]


def test_a_file_refused_whole_for_its_header_is_sent_again_whole(loop: Loop) -> None:
    """One renamed column would cost the usage of the whole file."""
    rows = [f"use-{n},{{t}},api_requests,cus_{n % 3 + 1},10" for n in range(30)]
    loop.upload("day.csv", usage(*rows, header="Identifier,Timestamp,Event Name,Customer ID,Value"))
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", f"cus_{n}"): "100" for n in (1, 2, 3)}
    assert loop.balance.failed.records == loop.balance[Bucket.CONFIRMED].records == 30


def test_what_is_open_has_its_price_and_its_last_day_from_stripe_and_what_came_back_its_worth(loop: Loop) -> None:
    """Somebody who does not know what a case is worth, and until when, works on the wrong one."""
    [meter] = loop.twin.account().meters
    price = loop.twin.add_price(meter, unit_amount_decimal="25")["id"]
    ends = int(time.time()) + 3 * 86_400
    loop.twin.add_subscription("cus_1", [price], ends)
    loop.upload("day.csv", usage("use-1,yesterday,api_requests,cus_1,40", "use-2,{t},api_requests, cus_1,2"))
    loop.twin.fail_next("status", path="/v1/subscriptions", status=403)
    appraise(loop.context)
    assert [case.deadline for case in loop.cases() if case.state is CaseState.NEEDS_PERSON] == [None]
    loop.clock.turn(hours=1)
    appraise(loop.context)
    loop.stripe_works()
    loop.pass_window()
    [case] = [case for case in loop.cases() if case.state is CaseState.NEEDS_PERSON]
    assert (written(at_risk(case)), case.deadline) == ("USD 10.00", from_epoch(ends + 3600))
    assert written(loop.ledger.money.recovered(loop.clock() - timedelta(days=7)).money) == "USD 0.50"


def test_what_has_two_readings_waits_for_a_person(loop: Loop) -> None:
    """`1,234` sent as 1234 overcharges a customer who used 1.234."""
    loop.upload("day.csv", usage('use-1,{t},api_requests,cus_1,"1,234"'))
    loop.pass_window()
    assert loop.billed() == {}
    assert [case.state for case in loop.cases()] == [CaseState.NEEDS_PERSON]
    assert loop.balance[Bucket.QUARANTINED].records == 1


@pytest.mark.parametrize("spelled", ["api_requests", "API_REQUESTS", "Api-Requests ", " api requests"])
def test_a_file_refused_whole_is_judged_by_the_notation_that_it_shows(loop: Loop, spelled: str) -> None:
    """To the sender of `1.234,50`, `1.234` is 1234: sent as it stands it bills a thousandth."""
    values = ((spelled, "1.234,50"), ("api_requests", "1.234"), (spelled, "12,5"), ("api_requests", "7"))
    rows = [f"use-{n};{{t}};{name};cus_1;{value}" for n, (name, value) in enumerate(values)]
    header = "identifier;timestamp;event_name;payload_stripe_customer_id;payload_value"
    loop.upload("eu.csv", usage(*rows, header=header))
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "1241.5"}
    assert loop.balance[Bucket.QUARANTINED].records == 2


@pytest.mark.parametrize("shows", ['api_requests,cus_2,"12,5"', 'API_REQUESTS,cus_1,"ca. 12,5"'])
def test_a_record_found_in_the_sources_is_judged_by_its_whole_file(loop: Loop, shows: str) -> None:
    """Stripe names one record of the file; that its sender writes commas, only the others tell."""
    loop.upload("eu.csv", usage("use-1,{t},api_requests, cus_1,1.234", f"use-2,{{t}},{shows}"))
    loop.stripe_works()
    loop.pass_window()
    assert ("api_requests", "cus_1") not in loop.billed()
    assert loop.balance[Bucket.QUARANTINED].records == 2


def test_two_event_objects_for_one_change_are_one_case(loop: Loop) -> None:
    """Counted twice, the equation would claim usage that never was."""
    loop.twin.configure(double_event_chance=1.0)
    loop.upload("day.csv", usage("use-1,{t},api_requests, cus_1,40", "use-2,yesterday,api_requests,cus_1,1"))
    loop.stripe_works()
    loop.pass_window()
    assert loop.balance.failed.records == 2
    assert len(loop.cases()) == 2


def test_records_that_stripe_counts_but_does_not_name_are_kept_in_the_count(loop: Loop) -> None:
    """A report of 5 refusals with 2 samples must never read as 2 lost records, found or not."""
    loop.twin.configure(sample_cap=2)
    loop.sources.mkdir()
    rows = [f"use-{n},{{t}},api_requests, cus_1,1" for n in range(5)]
    (loop.bucket / "day.csv").write_text(usage(*rows))
    (loop.sources / "day.csv").write_text(usage(*rows[:2]))
    loop.stripe_works()
    loop.stripe_works()
    loop.stripe_works()
    loop.pass_window()
    assert loop.balance.failed.records == 5
    assert loop.balance[Bucket.QUARANTINED].records == 3
    assert loop.balance[Bucket.CONFIRMED].records == 2


def test_a_repaired_record_that_is_refused_again_comes_back_to_its_case(loop: Loop) -> None:
    """Taken for arrived, it would be lost without a word."""
    loop.upload("day.csv", usage("use-1,{t},api_requests, cus_1,40"))
    loop.lose_customer("cus_1")
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {}
    assert len(loop.cases()) == 1
    assert loop.balance.failed.records == 1
    assert loop.balance[Bucket.QUARANTINED].records == 1


def test_a_refusal_after_the_window_takes_the_confirmation_back(loop: Loop) -> None:
    """Stripe is late at times; a record that counted as arrived must be able to be refused still."""
    loop.deny_totals()
    loop.upload("day.csv", usage("use-1,{t},api_requests, cus_1,40"))
    loop.lose_customer("cus_1")
    loop.pass_window()
    assert loop.balance[Bucket.CONFIRMED].records == 1
    loop.stripe_works()
    assert loop.balance[Bucket.CONFIRMED].records == 0
    assert loop.balance[Bucket.QUARANTINED].records == 1


class _CrashAfterSending:
    """A target whose answer never arrives: the file is there, but nobody was told."""

    def __init__(self, target: Any) -> None:
        self.name = target.name
        self.at_once = target.at_once
        self._target = target

    def lies_there(self, _: str) -> bool:
        return False

    def keep_pace(self) -> None:
        """Let everything go at once."""

    def send(self, outgoing: Outgoing, progress: Progress) -> Sent:
        self._target.send(outgoing, progress)
        raise KeyboardInterrupt


def test_a_crash_between_sending_and_noting_it_bills_nothing_twice(loop: Loop) -> None:
    """The customer would be charged twice for one usage."""
    whole = loop.context
    loop.context = replace(whole, target=_CrashAfterSending(whole.target))
    with pytest.raises(KeyboardInterrupt):
        loop.upload("day.csv", usage("use-1,{t},api_requests, cus_1,40"))
    loop.context = whole
    loop.clock.turn(seconds=whole.settings.lease_seconds + 1)
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "40"}
    assert loop.balance[Bucket.CONFIRMED].records == 1


def test_usage_that_another_case_has_resubmitted_waits_for_a_person(loop: Loop) -> None:
    """A sender who uploads a faulty file twice, two days apart, must not bill its repaired rows twice."""
    faulty = usage("use-1,{t},api_requests, cus_1,40")
    loop.upload("monday.csv", faulty)
    loop.stripe_works()
    loop.pass_window()
    loop.twin.clock.advance(2 * 86_400)
    loop.upload("wednesday.csv", faulty)
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "40"}
    assert loop.balance[Bucket.QUARANTINED].records == 1


def test_a_foreign_import_is_left_alone(loop: Loop) -> None:
    """Product catalogues are imported under the same event types."""
    loop.bucket.mkdir(exist_ok=True)
    (loop.bucket / "catalog.csv").write_text("id,title,price\nsku-1,Shirt,10\n")
    loop.stripe_works()
    assert loop.cases() == []
    assert set(loop.ledger.queries.event_counts()) == {EventState.IGNORED}


def test_nothing_is_sent_where_no_target_is_set(loop: Loop) -> None:
    """A first deployment plans and shows before it may send."""
    loop.context = replace(loop.context, target=None)
    loop.upload("day.csv", usage("use-1,{t},api_requests, cus_1,40"))
    assert [case.state for case in loop.cases()] == [CaseState.PLANNED]
    assert loop.billed() == {}


def test_stripe_being_away_postpones_an_event_and_loses_nothing(loop: Loop) -> None:
    """An event that failed for good on a passing fault would be a case nobody opens."""
    stripe = loop.context.stripe
    loop.context = replace(loop.context, stripe=_Away())
    loop.upload("day.csv", usage("use-1,{t},api_requests, cus_1,40"))
    assert loop.ledger.queries.event_counts().get(EventState.RECEIVED) == 2
    loop.context = replace(loop.context, stripe=stripe)
    loop.clock.turn(seconds=60)
    loop.work()
    loop.stripe_works()
    loop.pass_window()
    assert loop.balance[Bucket.CONFIRMED].records == 1


class _Away:
    """Stripe while it does not answer."""

    def __getattr__(self, _name: str) -> Any:
        def call(*_: object, **__: object) -> Any:
            raise Transient("Stripe does not answer")

        return call


def test_an_event_that_cannot_be_worked_on_ends_where_a_person_sees_it(loop: Loop) -> None:
    """It must neither vanish nor be tried for ever."""
    loop.receive({"id": "evt_odd", "object": "event", "type": "data_management.import_set.failed", "data": {}})
    process(loop.context, "evt_odd")
    stored = loop.ledger.events.get("evt_odd")
    assert stored is not None
    assert stored.state is EventState.FAILED
    assert "import set" in str(stored.reason)
    assert len(loop.alerts.posted) == 1


def test_a_case_over_which_workers_die_is_left_to_a_person(loop: Loop) -> None:
    """It would take down one worker after the other, and everybody else's usage with them."""
    loop.context = replace(loop.context, target=None)
    loop.upload("day.csv", usage("use-1,{t},api_requests, cus_1,40"))
    case = loop.cases()[0]
    with ExitStack() as held_by_the_dead:
        for number in range(3):
            hold = loop.ledger.cases.hold(case.id, f"worker {number}", loop.context.lease)
            held_by_the_dead.enter_context(hold)
            loop.clock.turn(seconds=loop.context.lease.total_seconds() + 1)
        carry_on(loop.context, case.id)
    [stuck] = loop.ledger.queries.stuck_cases()
    assert stuck.trouble == "a worker died over it 3 times"
    assert any("a case cannot go on" in str(message) for message in loop.alerts.posted)


def test_work_that_outlasts_its_lease_is_not_taken_for_a_death(loop: Loop) -> None:
    """A large file would be worked on twice, and after the third time be given up though nobody died."""
    settings = loop.context.settings.model_copy(update={"lease_seconds": 0.7})
    slow = SlowSources(loop.context.sources, loop.ledger)
    loop.context = replace(loop.context, settings=settings, sources=slow)
    loop.upload("day.csv", usage("use-1,{t},api_requests, cus_1,40"))
    assert slow.due_meanwhile == []
    assert len(loop.cases()) == 1


class SlowSources:
    """Usage sources that take longer than a lease, and see who could have taken the event."""

    def __init__(self, sources: UsageSources, ledger: Ledger) -> None:
        self._sources, self._ledger = sources, ledger
        self.due_meanwhile: list[tuple[str, int]] | None = None

    def find(self, identifiers: Collection[str] | pl.Series) -> FoundUsage:
        time.sleep(1.0)
        self.due_meanwhile = list(self._ledger.events.due(10))
        return self._sources.find(identifiers)

    def rows(self, event_names: Collection[str], start: datetime, end: datetime) -> Iterator[pl.DataFrame]:
        return self._sources.rows(event_names, start, end)

    def candidates(self, event_names: Collection[str] | None, start: datetime, end: datetime) -> Candidates:
        return self._sources.candidates(event_names, start, end)

    def rows_of(self, candidate: Candidate, event_names: Collection[str] | None) -> Iterator[pl.DataFrame]:
        return self._sources.rows_of(candidate, event_names)

    def doubtful(self, candidate: Candidate, event_name: str, standard: Standard) -> Iterator[pl.DataFrame]:
        return self._sources.doubtful(candidate, event_name, standard)

    def customers(self, candidate: Candidate, event_name: str, catalog: Catalog) -> pl.Series:
        return self._sources.customers(candidate, event_name, catalog)

    def earlier(self, records: pl.DataFrame, before: datetime, but: Collection[str]) -> pl.DataFrame:
        return self._sources.earlier(records, before, but)

    def copies(self, path: Path) -> frozenset[str]:
        return self._sources.copies(path)

    def file(self, name: str, by: datetime) -> Path | None:
        return self._sources.file(name, by)

    def prepare(self, seconds: float) -> int:
        return self._sources.prepare(seconds)
