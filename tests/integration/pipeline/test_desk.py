"""What a person decides. If these fail, usage is written off unseen, or a decision is lost or done twice."""

from dataclasses import replace

import pytest

from tests.integration.pipeline.loop import Loop, usage
from tests.integration.pipeline.test_attacks_planning import assert_proved
from workers.kernel.errors import Conflict, InputUnusable
from workers.kernel.ledger.acts import Act, ActState
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.desk import desk


@pytest.fixture
def waiting(loop: Loop) -> str:
    """A case with three records that wait for a person; its id."""
    loop.upload("day.csv", usage(*(f"use-{n},{{t}},api_requests,cus_gone,{n}" for n in (1, 2, 3))))
    [case] = loop.cases()
    assert case.balance[Bucket.QUARANTINED].records == 3
    return case.id


def asked(loop: Loop, kind: str, case_id: str, **arguments: object) -> Act:
    act, _ = desk.ask(loop.context, kind, case_id, {"case_id": case_id, **arguments}, actor="Ada", why="agreed")
    return act


def test_records_are_written_off_as_shown_and_wait_again_when_that_is_taken_back(loop: Loop, waiting: str) -> None:
    act = asked(loop, "write_off", waiting)
    assert act.effect is not None
    assert (act.effect["records"], act.effect["quantities"]) == (3, {"api_requests": "6"})
    done = desk.approve(loop.context, act, "Ada")
    assert (done.state, loop.balance[Bucket.WRITTEN_OFF].records) == (ActState.DONE, 3)
    entry = loop.ledger.queries.entries(waiting)[-1]
    assert (entry.actor, entry.detail["why"], entry.detail["act"]) == ("Ada", "agreed", act.id)
    desk.take_back(loop.context, done, "Grace")
    assert loop.balance[Bucket.QUARANTINED].records == 3
    assert_proved(loop)


def test_only_the_chosen_records_are_meant(loop: Loop, waiting: str) -> None:
    act = asked(loop, "corrected", waiting, chosen={"records": [1]}, reference="invoice 7")
    desk.approve(loop.context, act, "Ada")
    assert (loop.balance[Bucket.CORRECTED].records, loop.balance[Bucket.QUARANTINED].records) == (1, 2)
    with pytest.raises(InputUnusable, match="no such record waits"):
        asked(loop, "corrected", waiting, chosen={"records": [1]}, reference="invoice 7")


def test_nothing_is_done_when_the_case_has_changed_since_it_was_shown(loop: Loop, waiting: str) -> None:
    """Else somebody writes off what he never saw."""
    act = asked(loop, "write_off", waiting)
    loop.twin.clock.advance(11)
    loop.upload("noon.csv", usage("use-9,{t},api_requests,cus_gone,9"))
    with pytest.raises(InputUnusable, match="not what was shown"):
        desk.approve(loop.context, act, "Ada")
    assert loop.balance[Bucket.WRITTEN_OFF].records == 0


def test_under_four_eyes_who_asks_cannot_approve_alone(loop: Loop, waiting: str) -> None:
    loop.context = replace(loop.context, settings=loop.context.settings.model_copy(update={"approvals": 2}))
    act = desk.approve(loop.context, asked(loop, "write_off", waiting), "Ada")
    assert act.state is ActState.SHOWN
    with pytest.raises(InputUnusable, match="Ada has approved it already"):
        desk.approve(loop.context, act, "Ada")
    assert desk.approve(loop.context, act, "Grace").state is ActState.DONE
    assert loop.balance[Bucket.WRITTEN_OFF].records == 3


def test_what_was_approved_and_broke_off_is_carried_out_once(loop: Loop, waiting: str) -> None:
    """A process that dies after the journal's entry must not move the records again."""
    act = asked(loop, "write_off", waiting)
    approved = loop.ledger.acts.approve(act, "Ada", needed=1)
    desk.order_of(approved.kind, approved.arguments).carry_out(loop.context, approved)
    assert desk.carry_on_open(loop.context) == 1
    assert loop.ledger.acts.get(act.id).outcome == {"records": 3}
    assert loop.balance[Bucket.WRITTEN_OFF].records == 3
    assert_proved(loop)


def test_of_two_people_who_approve_at_once_neither_takes_the_place_of_the_other(loop: Loop, waiting: str) -> None:
    """Both have looked, and one word would be lost."""
    seen = asked(loop, "write_off", waiting)
    loop.ledger.acts.approve(seen, "Ada", needed=2)
    with pytest.raises(Conflict):
        loop.ledger.acts.approve(seen, "Grace", needed=2)
    assert loop.ledger.acts.get(seen.id).approved_by == ["Ada"]


def test_a_person_is_told_when_what_was_approved_cannot_be_done_any_more(loop: Loop, waiting: str) -> None:
    """Whoever asked for it has gone home, and takes it for done."""
    act = loop.ledger.acts.approve(asked(loop, "write_off", waiting), "Ada", needed=1)
    retry, _ = desk.ask(loop.context, "retry", waiting, {"cases": [waiting]}, actor="Grace", why="once more")
    desk.approve(loop.context, retry, "Grace")
    assert desk.carry_on_open(loop.context) == 1
    assert loop.ledger.acts.get(act.id).state is ActState.REFUSED
    assert "what was approved could not be done" in [one.headline for one in loop.alerts.posted]


def test_a_release_of_nothing_says_so(loop: Loop, waiting: str) -> None:
    """Nothing of the case is held, and nothing of it waits any more."""
    desk.approve(loop.context, asked(loop, "write_off", waiting), "Ada")
    with pytest.raises(InputUnusable, match="no such record is held back"):
        desk.ask(loop.context, "release", waiting, {"cases": [waiting]}, actor="Ada", why="agreed")
