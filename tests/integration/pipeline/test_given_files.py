"""A list of failed records that a person gives. If these fail, a Dashboard upload's refusals are billed twice, or
never."""

import os
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.integration.pipeline.loop import Loop, usage
from tests.integration.pipeline.stripe_says import error_file, verdict
from tests.integration.pipeline.test_which_record import waiting
from workers.alerts import Trouble
from workers.archive import Archive
from workers.kernel.errors import MetermendError, Permanent
from workers.kernel.files import sha256_of
from workers.kernel.given_file import GivenFile, give
from workers.kernel.ledger.events import EventState, StoredEvent
from workers.kernel.ledger.journal import Bucket
from workers.kernel.storage import open_store
from workers.pipeline.audit.prove import prove
from workers.pipeline.intake.given_folder import take_from_folder

HEADER = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value,error_message"
BAD_TIMES = (
    "a,{t}.0,api_requests,cus_1,5,The timestamp is invalid",
    "b,{t}.0,api_requests,cus_2,6,The timestamp is invalid",
)
NAMELESS = (
    ",{t}.0,api_requests,cus_1,5,The timestamp is invalid",
    ",{t}.0,api_requests,cus_2,6,The timestamp is invalid",
)


def listed(*rows: str, header: str = HEADER) -> str:
    return usage(*rows, header=header)


def given(loop: Loop, text: str, name: str = "errors.csv", **said: Any) -> StoredEvent:
    """Let ada give a file, and a worker work on it; return the event that stands for it."""
    path = Path(loop.context.scratch) / "download.csv"
    path.write_text(text)
    file = GivenFile(sha256_of(path), name, "ada", **said)
    give(loop.ledger, file, path, loop.context.archive.put, livemode=False)
    loop.work()
    event = loop.ledger.events.get(file.event_id)
    assert event is not None
    return event


def told(loop: Loop, text: str, count: int = 2, name: str = "day.csv", **more: Any) -> str:
    """Let Stripe tell of an import set with that list; return the event's id."""
    errors = {"row_count": count, "file": error_file(loop, text)}
    return verdict(loop, name, status="succeeded_with_errors", result={"errors": errors}, **more)


def bucket_counts(loop: Loop) -> dict[str, int]:
    balance = loop.balance
    return {bucket.value: balance[bucket].records for bucket in Bucket if balance[bucket].records}


def test_what_was_refused_in_the_dashboard_is_billed_once(loop: Loop) -> None:
    event = given(loop, listed(*BAD_TIMES))
    assert (event.state, event.reason) == (EventState.DONE, None)
    (case,) = loop.cases()
    assert case.failure.summary == "rows of errors.csv were refused for their format"
    loop.stripe_works()
    loop.pass_window()
    assert bucket_counts(loop) == {"confirmed": 2}
    assert loop.billed() == {("api_requests", "cus_1"): "5", ("api_requests", "cus_2"): "6"}


@pytest.mark.parametrize("rows", [BAD_TIMES, NAMELESS])
@pytest.mark.parametrize("first", ["the person", "Stripe"])
def test_stripes_event_and_the_file_that_a_person_gives_are_one_case(
    loop: Loop, first: str, rows: tuple[str, ...]
) -> None:
    """Its rows need no identifier, its bytes may differ, and the original may be at hand later only."""
    text = listed(*rows)
    if first == "Stripe":
        told(loop, text, id="impset_1")
        event = given(loop, "\ufeff" + text.replace("\n", "\r\n"))
        assert event.state is EventState.DONE
    else:
        given(loop, text)
        loop.sources.mkdir(exist_ok=True)
        original = "".join(f"{line.rpartition(',')[0]}\n" for line in text.splitlines())
        (loop.sources / "day.csv").write_text(original)
        told(loop, text, id="impset_1")
    (case,) = loop.cases()
    assert case.failure.import_set_id == "impset_1"
    assert case.balance.failed.records == 2
    loop.stripe_works()
    loop.pass_window()
    assert sum(map(int, loop.billed().values())) == 11
    assert all(proof.breach is None for proof in prove(loop.ledger, loop.context.archive))


def test_two_import_sets_of_the_same_rows_stay_two_failures(loop: Loop) -> None:
    """Their sender has uploaded the file twice: each refusal is accounted for, and one of them is billed."""
    for import_set in ("impset_1", "impset_2"):
        told(loop, listed(*BAD_TIMES), id=import_set)
    assert len(loop.cases()) == 2
    loop.stripe_works()
    loop.pass_window()
    assert sum(map(int, loop.billed().values())) == 11


@pytest.mark.parametrize("first", ["the person", "Stripe"])
@pytest.mark.parametrize("rows", [2, 1])
def test_rows_without_an_identifier_that_two_lists_tell_are_billed_once(loop: Loop, first: str, rows: int) -> None:
    """What the Dashboard offers and what Stripe's event names may be two files, and each would be sent."""
    text = listed(*NAMELESS)
    header, *lines = text.splitlines()
    numbered = [f"{header},row", *(f"{line},{row}" for row, line in enumerate(lines[:rows], start=7))]
    for teller in ("the person", "Stripe") if first == "the person" else ("Stripe", "the person"):
        if teller == "Stripe":
            told(loop, "\n".join(numbered), count=rows, id="impset_1")
        else:
            given(loop, text)
        loop.stripe_works()
        loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "5", ("api_requests", "cus_2"): "6"}
    assert waiting(loop) == {"told_twice": rows}


def test_the_list_that_stripe_did_not_give_takes_the_place_of_its_count(loop: Loop) -> None:
    verdict(loop, "day.csv", id="impset_1", status="succeeded_with_errors", result={"errors": {"row_count": 2}})
    assert waiting(loop) == {"rows_not_listed": 2}
    given(loop, listed(*BAD_TIMES), import_set="impset_1")
    (case,) = loop.cases()
    assert case.balance.failed.records == 2
    assert case.balance[Bucket.QUARANTINED].records == 0


def test_a_file_that_is_given_twice_is_taken_in_once_and_says_so_in_the_journal(loop: Loop) -> None:
    header, first, second = listed(*BAD_TIMES).splitlines()
    given(loop, f"{header}\n{first}\n{second}\n")
    event = given(loop, f"{header}\n{second}\n{first}\n", name="again.csv")
    (case,) = loop.cases()
    assert case.balance.failed.records == 2
    assert [one.case_id for one in loop.ledger.event_list.led_to(event.id)] == [case.id]
    loop.ledger.events.retry(event.id)
    loop.work()
    again = loop.ledger.events.get(event.id)
    assert again is not None
    assert again.state is EventState.DONE


USAGE = usage("a,{t},api_requests,cus_1,5", "b,{t},api_requests,cus_2,6")
UNUSABLE = {
    "usage": (USAGE, "not every row of it says that it was refused"),
    "usage with a reason of the sender's own": (
        listed("a,{t},api_requests,cus_1,5,nightly", header=HEADER.replace("error_message", "reason")),
        "not every row",
    ),
    "usage of which a row was refused": (listed("a,{t},api_requests,cus_1,5,", BAD_TIMES[0]), "on 1 of 2 rows"),
    "a header alone": (HEADER + "\n", "no"),
    "a page": ("<!doctype html><html><body>Sign in</body></html>", "errors.csv: "),
    "a catalogue": ("id,title,error_message\nsku-1,Shirt,no such currency\nsku-2,Hat,no\n", "no column is a usage"),
    "numbers alone": ("row,error_message\n1,bad\n2,bad\n", "errors.csv: "),
    "what we wrote of a case": (
        listed(
            "a,{t}.0,api_requests,cus_1,5,r1,c,c,mend it", header=HEADER[:-13] + "record,code,reason,suggestion"
        ),
        "metermend fix CASE --file",
    ),
    "nothing": ("", "errors.csv: "),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_what_is_no_list_of_refusals_opens_no_case_and_says_why(loop: Loop, what: str) -> None:
    """Usage that was billed, taken for refused, is billed twice."""
    text, why = UNUSABLE[what]
    event = given(loop, text)
    assert event.state is EventState.FAILED
    assert event.reason is not None
    assert why in event.reason
    assert loop.cases() == []


def test_a_cell_that_is_a_formula_is_text(loop: Loop) -> None:
    given(loop, listed('"=HYPERLINK(""http://evil"")",{t}.0,api_requests,cus_1,5,The timestamp is invalid'))
    loop.stripe_works()
    assert loop.billed() == {("api_requests", "cus_1"): "5"}


def test_rows_that_we_have_sent_are_a_list_of_ours_only_if_somebody_says_so(loop: Loop) -> None:
    """Taken for the sender's, they would be repaired under another name beside those that we wait for."""
    given(loop, listed(*BAD_TIMES))
    (case,) = loop.cases()
    (submission,) = loop.ledger.submissions.of_case(case.id)
    ours = listed("a,{t},api_requests,cus_1,5,The value is invalid")
    event = given(loop, ours)
    assert event.state is EventState.FAILED
    assert event.reason is not None
    name = f"metermend-{submission.id}.csv"
    assert f"--of {name}" in event.reason
    event = given(loop, ours, imported_as=name)
    assert (event.state, len(loop.cases())) == (EventState.DONE, 1)
    refused = [entry for entry in loop.ledger.queries.entries(case.id) if entry.kind == "refused"]
    assert [entry.records for entry in refused] == [1]


def drop(folder: Path, name: str, text: str, age: int = 3600) -> Path:
    """Let somebody drop a file into a folder, so many seconds ago."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    written = time.time() - age
    os.utime(path, (written, written))
    return path


def test_a_file_in_the_folder_is_taken_in_once_and_stays_there(loop: Loop, tmp_path: Path) -> None:
    folder = open_store(str(tmp_path / "drop"))
    assert take_from_folder(loop.context, None, folder) == 0, "nobody has made the folder yet"
    there = drop(tmp_path / "drop", "errors.csv", listed(*BAD_TIMES))
    drop(tmp_path / "drop", "half.csv", listed(BAD_TIMES[0]), age=1)
    drop(tmp_path / "drop", ".part.csv", listed(BAD_TIMES[0]))
    assert [take_from_folder(loop.context, None, folder) for _ in range(2)] == [1, 0]
    there.rename(there.with_name("renamed.csv"))
    assert take_from_folder(loop.context, None, folder) == 0
    loop.work()
    (case,) = loop.cases()
    assert case.balance.failed.records == 2
    assert there.with_name("renamed.csv").is_file()


def test_a_file_that_cannot_be_an_event_is_told_once_and_holds_up_no_other(loop: Loop, tmp_path: Path) -> None:
    drop(tmp_path / "drop", "a\nb.csv", listed(*BAD_TIMES))
    drop(tmp_path / "drop", "errors.csv", listed(BAD_TIMES[0]))
    folder = open_store(str(tmp_path / "drop"))
    assert [take_from_folder(loop.context, None, folder) for _ in range(2)] == [1, 0]
    (told,) = (one for one in loop.alerts.posted if isinstance(one, Trouble))
    assert told.headline == "a failed-records file could not be taken in"
    assert "a\nb.csv" in told.detail


def test_a_file_that_the_archive_does_not_take_is_taken_in_once_it_does(loop: Loop, tmp_path: Path) -> None:
    """Nothing is wrong with the file, so nobody mends it: marked as seen, it is never looked at again."""
    drop(tmp_path / "drop", "errors.csv", listed(*BAD_TIMES))
    folder = open_store(str(tmp_path / "drop"))
    with patch.object(Archive, "put", side_effect=Permanent("access denied")), pytest.raises(Permanent):
        take_from_folder(loop.context, None, folder)
    assert take_from_folder(loop.context, None, folder) == 1


@pytest.mark.xdist_group("s3")
def test_a_folder_that_is_not_to_be_read_any_more_is_told_once(loop: Loop, s3: str) -> None:
    """People go on dropping files into it, and think that they are seen to."""
    folder = open_store(f"{s3.replace('s3://', 's3://no-such-')}/errors")
    for _ in range(2):
        with pytest.raises(MetermendError):
            take_from_folder(loop.context, None, folder)
    (told,) = (one for one in loop.alerts.posted if isinstance(one, Trouble))
    assert told.headline == "the folder of failed-records files cannot be read"


@pytest.mark.xdist_group("s3")
def test_a_folder_in_in_s3_is_that_of_its_account(loop: Loop, s3: str) -> None:
    """A list of another account's, taken for ours, is billed to our customers."""
    folder = open_store(f"{s3}/errors")
    path = Path(loop.context.scratch) / "list.csv"
    path.write_text(listed(*BAD_TIMES))
    folder.put_file("monday/errors.csv", path)
    loop.clock.turn(minutes=2)
    assert take_from_folder(loop.context, "acct_1", folder) == 1
    (event_id, _) = loop.ledger.events.due(10)[0]
    event = loop.ledger.events.get(event_id)
    assert event is not None
    assert (event.account, event.state) == ("acct_1", EventState.RECEIVED)
