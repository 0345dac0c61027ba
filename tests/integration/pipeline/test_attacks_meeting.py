"""What new ways do to each other. If these fail, usage is uploaded twice, or a customer's data stays."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.pipeline.loop import Loop, usage
from tests.integration.pipeline.test_dashboard_parts import BAD, act, byhand, content, put_into_dashboard, refused
from tests.integration.pipeline.test_forget import ALIAS, HIM, bill_all, company, forget
from tests.integration.pipeline.test_given_files import BAD_TIMES, bucket_counts, given, listed
from tests.integration.pipeline.test_restored_ledger import back_up, restore, turn
from workers.kernel.errors import InputUnusable
from workers.kernel.files import sha256_of
from workers.kernel.given_file import FOLDER, GivenFile, give
from workers.kernel.ledger import parts
from workers.kernel.ledger.acts import HAND_OUT, NOT_UPLOADED, UPLOADED, Act, ActState
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.journal import Bucket
from workers.kernel.reasons import ARRIVAL_UNKNOWN, PERHAPS_SENT_BEFORE
from workers.pipeline.audit.prove import prove
from workers.pipeline.desk import desk
from workers.pipeline.restores import note_restore
from workers.pipeline.submit import parts as submit_parts
from workers.targets.dashboard import DashboardTarget
from workers.targets.meter_events import MeterEventsTarget

__all__ = ["byhand", "company"]


def part_of(taken: Act) -> str:
    assert taken.outcome is not None
    return str(taken.outcome["part"])


def upload(loop: Loop, taken: Act) -> None:
    """Let somebody upload a part in the Dashboard, and say so."""
    put_into_dashboard(loop, taken)
    act(loop, UPLOADED, part=part_of(taken))
    loop.work()


def reasons(loop: Loop) -> set[str]:
    entries = [entry for case in loop.cases() for entry in loop.ledger.queries.entries(case.id)]
    return {name for entry in entries for name in entry.detail.get("reasons", {})}


@pytest.mark.parametrize("stripe_tells", [True, False])
def test_a_part_that_was_uploaded_after_the_backup_is_not_handed_out_again(
    byhand: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, stripe_tells: bool
) -> None:
    """Its submission was intended before, and nothing asks again what its guards have asked then."""
    for name, size in (("PART_BYTES", 400), ("SHARED_BYTES", 320)):
        monkeypatch.setattr(submit_parts, name, size)
    refused(byhand, *(f"large-{n},{{t}}.0,api_requests,cus_1,1" for n in range(12)))
    first = act(byhand, HAND_OUT)
    upload(byhand, first)
    back_up(byhand, tmp_path)
    turn(byhand, minutes=5)
    second = act(byhand, HAND_OUT)
    (byhand.bucket / (part_of(second) if stripe_tells else "by-hand.csv")).write_text(content(byhand, second))
    byhand.stripe_works()
    act(byhand, UPLOADED, part=part_of(second))
    restore(byhand, tmp_path, said=True)
    byhand.stripe_works()
    with pytest.raises(InputUnusable, match="no corrected usage waits"):
        act(byhand, HAND_OUT)
    byhand.work()
    assert byhand.balance[Bucket.QUARANTINED].records >= 4
    assert (ARRIVAL_UNKNOWN if stripe_tells else PERHAPS_SENT_BEFORE) in reasons(byhand)
    assert byhand.billed() == {("api_requests", "cus_1"): "12"}
    assert [case.trouble for case in byhand.cases()] == [None]


def test_a_list_that_was_given_after_the_backup_is_not_billed_again_when_it_is_given_once_more(
    loop: Loop, tmp_path: Path
) -> None:
    """The folder is read anew after a restore, and no time stands in what a person gives."""
    loop.context = replace(loop.context, target=MeterEventsTarget(loop.context.stripe, loop.clock))
    back_up(loop, tmp_path)
    turn(loop, minutes=5)
    text = listed(*BAD_TIMES)
    given(loop, text)
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "5", ("api_requests", "cus_2"): "6"}
    turn(loop, hours=26)
    restore(loop, tmp_path, said=True)
    turn(loop, minutes=1)
    given(loop, text)
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "5", ("api_requests", "cus_2"): "6"}
    assert bucket_counts(loop) == {"quarantined": 2}


def test_who_says_that_nobody_uploaded_a_part_is_told_that_the_ledger_was_restored_since(byhand: Loop) -> None:
    """The word that it was uploaded may be among what was lost."""
    refused(byhand, *BAD)
    taken = act(byhand, HAND_OUT)
    turn(byhand, minutes=5)
    note_restore(byhand.ledger, byhand.clock())
    said, effect = desk.ask(byhand.context, NOT_UPLOADED, None, {"part": part_of(taken)}, actor="ada", why="now")
    assert said.state is ActState.SHOWN
    assert any("was restored on" in warning for warning in effect.warnings)


def test_what_is_said_of_a_part_before_it_is_handed_out_leaves_its_records_out_of_it(
    byhand: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that somebody gives with the wrong name: what waits for a person must not lie in a download, too."""
    for name, size in (("PART_BYTES", 400), ("SHARED_BYTES", 320)):
        monkeypatch.setattr(submit_parts, name, size)
    refused(byhand, *(f"large-{n},{{t}}.0,api_requests,cus_1,1" for n in range(12)))
    first = act(byhand, HAND_OUT)
    second = part_of(first).replace(".csv", "-p2.csv")
    given(byhand, listed("large-9,{t},api_requests,cus_1,1,The value is invalid"), imported_as=second)
    upload(byhand, first)
    upload(byhand, act(byhand, HAND_OUT))
    byhand.pass_window()
    assert bucket_counts(byhand) == {"confirmed": 11, "quarantined": 1}
    assert byhand.billed() == {("api_requests", "cus_1"): "11"}


def test_what_stripe_has_imported_though_nobody_is_said_to_have_uploaded_it_stands_in_no_other_part(
    byhand: Loop,
) -> None:
    """Somebody else has uploaded it, or the same one later: its records say `retry`, and are billed twice."""
    refused(byhand, *BAD)
    taken = act(byhand, HAND_OUT)
    act(byhand, NOT_UPLOADED, part=part_of(taken))
    byhand.work()
    put_into_dashboard(byhand, taken)
    (case,) = byhand.cases()
    act(byhand, "retry", cases=[case.id])
    byhand.work()
    with pytest.raises(InputUnusable, match="no corrected usage waits"):
        act(byhand, HAND_OUT)
    assert bucket_counts(byhand) == {"quarantined": 2}
    assert ARRIVAL_UNKNOWN in reasons(byhand)
    assert all(proof.breach is None for proof in prove(byhand.ledger, byhand.context.archive))


def test_stripes_word_on_a_part_that_comes_after_somebody_has_approved_his_own_is_heard(byhand: Loop) -> None:
    refused(byhand, *BAD)
    taken = act(byhand, HAND_OUT)
    said, _ = desk.ask(byhand.context, NOT_UPLOADED, None, {"part": part_of(taken)}, actor="ada", why="now")
    byhand.ledger.acts.approve(said, "ada", 1)
    put_into_dashboard(byhand, taken)
    desk.settle(byhand.context, said.id)
    byhand.work()
    assert byhand.ledger.acts.get(said.id).state is ActState.REFUSED
    assert bucket_counts(byhand) == {"submitted": 2}


def test_a_part_says_itself_of_which_account_it_is(byhand: Loop) -> None:
    """Who has it is told to say `parts uploaded PART`; refused, the part stays out and no other is handed out."""
    byhand.twin.add_meter("api_requests", account="acct_1")
    byhand.twin.add_customers(["cus_1", "cus_2"], account="acct_1")
    byhand.context = replace(byhand.context, account_targets={"acct_1": DashboardTarget()})
    given(byhand, listed(*BAD_TIMES), account="acct_1")
    taken = act(byhand, HAND_OUT, account="acct_1")
    assert act(byhand, UPLOADED, part=part_of(taken)).state is ActState.DONE
    assert parts.out(byhand.ledger, "acct_1") is None


def unusable(company: Loop, row: str) -> str:
    """Let somebody give a file that is no list of refusals; return its event."""
    event = given(company, usage(row))
    (Path(company.context.scratch) / "download.csv").unlink()
    assert event.state is EventState.FAILED
    return event.id


@pytest.mark.parametrize("called", [HIM, ALIAS])
def test_of_a_customer_who_is_erased_no_file_stays_that_somebody_has_given(company: Loop, called: str) -> None:
    """One that could not be used lies in no case, and nothing else removes it."""
    bill_all(company)
    his, other = (unusable(company, f"z,{{t}},api_requests,{name},5") for name in (called, "cus_2"))
    done = forget(company)
    assert done.state is ActState.DONE
    assert his in str(done.effect)
    (left,) = company.context.archive.names(FOLDER)
    assert other in left


def test_a_customer_is_not_erased_while_a_file_that_names_him_is_to_be_taken_in(
    company: Loop, tmp_path: Path
) -> None:
    """His records would come after he was told that nothing is left of them."""
    bill_all(company)
    path = tmp_path / "list.csv"
    path.write_text(listed(f"z,{{t}}.0,api_requests,{HIM},5,The timestamp is invalid"))
    file = GivenFile(sha256_of(path), "list.csv", "ada")
    give(company.ledger, file, path, company.context.archive.put, livemode=False)
    with pytest.raises(InputUnusable, match=f"(?s){file.event_id}.*not worked on yet"):
        forget(company)
