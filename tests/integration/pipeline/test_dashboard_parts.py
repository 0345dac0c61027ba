"""Corrected usage that a person uploads in the Dashboard. If these fail, a part is uploaded twice, or never."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.pipeline.loop import Loop, usage
from tests.integration.pipeline.stripe_says import error_file, verdict
from tests.integration.pipeline.test_given_files import bucket_counts, given, listed
from workers.alerts import Trouble
from workers.kernel.advice import IN_A_PART
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import parts
from workers.kernel.ledger.acts import HAND_OUT, NOT_UPLOADED, UPLOADED, Act, ActState
from workers.kernel.ledger.journal import Bucket, RecordSetRef
from workers.pipeline.audit.prove import prove
from workers.pipeline.desk import desk
from workers.pipeline.notify.remind_parts import remind_of_parts
from workers.pipeline.submit import parts as submit_parts
from workers.pipeline.view.case_view import view_of
from workers.targets.dashboard import DashboardTarget

BAD = ("a,{t}.0,api_requests,cus_1,5", "b,{t}.0,api_requests,cus_2,6")
"""Rows that Stripe refuses for their form, so that each file is a case of its own."""


@pytest.fixture
def byhand(loop: Loop) -> Loop:
    """The company uploads corrected usage by hand."""
    loop.context = replace(loop.context, target=DashboardTarget())
    return loop


def act(loop: Loop, kind: str, by: str = "ada", **arguments: Any) -> Act:
    """Let somebody ask for an act, and approve what is shown."""
    context = replace(loop.context, owner=uuid4().hex)
    asked, _ = desk.ask(context, kind, None, arguments, actor=by, why="it is Monday")
    return desk.approve(context, asked, by)


def content(loop: Loop, taken: Act) -> str:
    assert taken.outcome is not None
    return loop.context.archive.fetch(RecordSetRef(*taken.outcome["file"])).read_text()


def put_into_dashboard(loop: Loop, taken: Act) -> None:
    """Let somebody upload the part: Stripe imports it under its name."""
    assert taken.outcome is not None
    (loop.bucket / taken.outcome["part"]).write_text(content(loop, taken))
    loop.stripe_works()


def refused(loop: Loop, *rows: str, name: str = "day.csv") -> None:
    loop.upload(name, usage(*rows))
    loop.stripe_works()


def test_a_part_is_billed_once_and_confirmed_as_any_file(byhand: Loop) -> None:
    refused(byhand, *BAD)
    assert bucket_counts(byhand) == {"planned": 2}, "nothing goes before somebody asks for it"
    taken = act(byhand, HAND_OUT)
    assert taken.outcome is not None
    assert (taken.outcome["records"], taken.outcome["quantities"], taken.outcome["customers"]) == (
        2, {"api_requests": "11"}, 2,
    )  # fmt: skip
    header, *rows = content(byhand, taken).splitlines()
    assert header == "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value"
    assert len(rows) == 2
    assert bucket_counts(byhand) == {"submitted": 2}, "in flight while it is out"
    (case,) = byhand.cases()
    assert view_of(byhand.context, case.id, byhand.clock()).next_step == IN_A_PART
    byhand.clock.turn(days=3)
    byhand.work()
    assert bucket_counts(byhand) == {"submitted": 2}, "silence proves nothing of what nobody has uploaded"
    put_into_dashboard(byhand, taken)
    act(byhand, UPLOADED, part=taken.outcome["part"])
    byhand.work()
    byhand.pass_window()
    assert bucket_counts(byhand) == {"confirmed": 2}
    assert byhand.billed() == {("api_requests", "cus_1"): "5", ("api_requests", "cus_2"): "6"}
    assert all(proof.breach is None for proof in prove(byhand.ledger, byhand.context.archive))


def test_two_people_never_have_a_part_at_once(byhand: Loop) -> None:
    """Both would upload what they have, and each is billed."""
    refused(byhand, BAD[0])
    taken = act(byhand, HAND_OUT)
    assert taken.outcome is not None
    refused(byhand, BAD[1], name="tuesday.csv")
    with pytest.raises(InputUnusable, match="ada has taken it on"):
        act(byhand, HAND_OUT, by="bob")
    act(byhand, UPLOADED, part=taken.outcome["part"])
    with pytest.raises(InputUnusable, match="told of already"):
        act(byhand, NOT_UPLOADED, by="bob", part=taken.outcome["part"])
    next_one = act(byhand, HAND_OUT, by="bob")
    assert next_one.outcome is not None
    assert next_one.outcome["records"] == 1
    assert parts.out(byhand.ledger, None) == next_one
    assert [one.told is None for one in parts.handed_out(byhand.ledger, 10)] == [True, False]


def test_what_nobody_uploaded_is_not_billed_and_stands_in_the_next_part(byhand: Loop) -> None:
    refused(byhand, *BAD)
    taken = act(byhand, HAND_OUT)
    assert taken.outcome is not None
    act(byhand, NOT_UPLOADED, part=taken.outcome["part"])
    byhand.work()
    assert bucket_counts(byhand) == {"quarantined": 2}
    (case,) = byhand.cases()
    act(byhand, "retry", cases=[case.id])
    byhand.work()
    again = act(byhand, HAND_OUT)
    assert again.outcome is not None
    put_into_dashboard(byhand, again)
    act(byhand, UPLOADED, part=again.outcome["part"])
    byhand.work()
    byhand.pass_window()
    assert byhand.billed() == {("api_requests", "cus_1"): "5", ("api_requests", "cus_2"): "6"}


def test_rows_that_the_dashboard_refused_are_seen_to_and_the_others_confirmed(byhand: Loop) -> None:
    """Its error file comes by hand; where Stripe tells of the import too, no row is taken for refused twice."""
    refused(byhand, *BAD)
    taken = act(byhand, HAND_OUT)
    assert taken.outcome is not None
    part, refusal = taken.outcome["part"], listed("a,{t},api_requests,cus_1,5,The value is invalid")
    given(byhand, refusal, imported_as=part)
    with pytest.raises(InputUnusable, match="Stripe has told what it imported of it"):
        act(byhand, NOT_UPLOADED, part=part)
    act(byhand, UPLOADED, part=part)
    byhand.work()
    assert bucket_counts(byhand) == {"quarantined": 1, "submitted": 1}, "nothing in it shows a fault"
    errors = {"errors": {"row_count": 1, "file": error_file(byhand, refusal)}}
    counters = {"rows_processed": 2, "successes": {"row_count": 1}, **errors}
    verdict(byhand, part, id="impset_1", status="succeeded_with_errors", result=counters)
    byhand.pass_window()
    assert bucket_counts(byhand) == {"quarantined": 1, "confirmed": 1}


def test_a_small_case_shares_a_part_and_a_large_one_is_cut(byhand: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripe takes 5 MB: a larger file is refused as a whole, and many small ones are nobody's day."""
    monkeypatch.setattr(submit_parts, "PART_BYTES", 400)
    monkeypatch.setattr(submit_parts, "SHARED_BYTES", 320)
    refused(byhand, *(f"large-{n},{{t}}.0,api_requests,cus_1,1" for n in range(12)))
    for name in ("b", "c"):
        refused(byhand, f"{name},{{t}}.0,api_requests,cus_2,1", name=f"{name}.csv")
    sizes: dict[str, int] = {}
    while sum(sizes.values()) < 14:
        assert parts.waiting(byhand.ledger, None)[1] == 14 - sum(sizes.values()), (
            "people are told of all that waits"
        )
        taken = act(byhand, HAND_OUT)
        assert taken.outcome is not None
        assert len(content(byhand, taken).encode()) <= 400
        sizes[taken.outcome["part"]] = taken.outcome["records"]
        put_into_dashboard(byhand, taken)
        act(byhand, UPLOADED, part=taken.outcome["part"])
        byhand.work()
    assert sum(sizes.values()) == 14
    assert 2 < len(sizes) < 8
    with pytest.raises(InputUnusable, match="no corrected usage waits"):
        act(byhand, HAND_OUT)
    byhand.pass_window()
    assert bucket_counts(byhand) == {"confirmed": 14}
    assert byhand.billed() == {("api_requests", "cus_1"): "12", ("api_requests", "cus_2"): "2"}


def test_a_part_whose_making_broke_off_is_the_same_part(byhand: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one beside it would hold the same records, and both lie in somebody's downloads."""
    refused(byhand, *BAD)
    with monkeypatch.context() as broken:
        broken.setattr(submit_parts, "_written", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            act(byhand, HAND_OUT)
    (begun,) = byhand.ledger.chunks.open_files("dashboard", None)
    desk.carry_on_open(byhand.context)
    taken = parts.out(byhand.ledger, None)
    assert taken is not None
    assert taken.outcome is not None
    assert (taken.outcome["part"], taken.outcome["records"]) == (begun, 2)


def test_what_was_planned_over_a_day_ago_is_looked_at_first(byhand: Loop) -> None:
    """Somebody may have mended it by hand meanwhile: uploaded as well, it is billed twice."""
    refused(byhand, *BAD)
    byhand.clock.turn(hours=25)
    byhand.work()
    with pytest.raises(InputUnusable, match="no corrected usage waits"):
        act(byhand, HAND_OUT)
    assert byhand.balance[Bucket.QUARANTINED].records == 2
    assert parts.out(byhand.ledger, None) is None


def test_people_are_told_once_a_day_what_waits_and_who_has_a_part(byhand: Loop) -> None:
    """Nothing goes by itself here: a part that somebody forgot is usage that is lost after 35 days."""
    refused(byhand, *BAD)
    for _ in range(2):
        remind_of_parts(byhand.context)
    act(byhand, HAND_OUT)
    byhand.clock.turn(days=1, hours=1)
    for _ in range(2):
        remind_of_parts(byhand.context)
    told = [one.headline for one in byhand.alerts.posted if isinstance(one, Trouble)]
    assert told == [
        "corrected usage waits to be uploaded in the Dashboard",
        "nobody has said what became of a part",
    ]


def test_of_two_who_press_at_once_one_has_the_part_and_the_other_is_told_who(byhand: Loop) -> None:
    """Both have seen that nobody had it; the page approves without a worker who looks again."""
    refused(byhand, *BAD)
    asked = [desk.ask(byhand.context, HAND_OUT, None, {}, actor=by, why="now")[0] for by in ("ada", "bob")]
    for one in asked:
        byhand.ledger.acts.approve(one, one.actor, 1)
        assert desk.settle(byhand.context, one.id) is None
    ada, bob = (byhand.ledger.acts.get(one.id) for one in asked)
    assert (ada.state, bob.state) == (ActState.DONE, ActState.REFUSED)
    assert "ada has taken it" in (bob.outcome or {})["error"]
    assert parts.out(byhand.ledger, None) == ada
