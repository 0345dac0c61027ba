"""If these fail, a case can vanish with all its entries unseen, or workers keep each other from writing."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.builders import a_failure, a_movement, open_case
from workers.kernel.errors import Corrupt
from workers.kernel.ledger import Ledger, links
from workers.kernel.ledger.case_transaction import CASE, EVENT_DIGEST, EVIDENCE, SUBMISSIONS
from workers.kernel.ledger.events import NewEvent
from workers.kernel.ledger.journal import EntryKind, RecordSetRef
from workers.kernel.ledger.links import genesis, lane_of, link_hash
from workers.kernel.ledger.tables import cases

LEASE = timedelta(minutes=5)


def write(ledger: Ledger, case_id: str, times: int = 1) -> None:
    for _ in range(times):
        with ledger.cases.hold(case_id, f"worker on {case_id}", LEASE) as held, held.transaction() as draft:
            draft.move(a_movement())


def test_every_commit_that_adds_entries_is_a_link_and_no_other_is(ledger: Ledger) -> None:
    case = open_case(ledger, a_failure())
    with ledger.cases.hold(case.id, "one", LEASE) as held:
        with held.transaction() as draft:
            draft.move(a_movement())
            draft.move(a_movement(EntryKind.PLANNED))
        with held.transaction() as draft:
            draft.reschedule(None)
    write(ledger, case.id)
    first, second = ledger.links.of_lane(lane_of(case.id))
    assert [(link.number, link.case_id, link.version) for link in (first, second)] == [
        (1, case.id, 2),
        (2, case.id, 3),
    ]
    assert (first.head, second.head) == (first.entry_hash, second.entry_hash)
    assert ledger.links.unlinked() == []
    assert ledger.links.heads() == {lane_of(case.id): (2, second.hash)}


def test_cases_that_are_written_at_once_in_one_lane_all_get_their_link(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "LANES", 1)
    monkeypatch.setattr(links, "PAGE", 7)
    ids = [open_case(ledger, a_failure(f"case {number}")).id for number in range(8)]
    with ThreadPoolExecutor(len(ids)) as pool:
        list(pool.map(lambda case_id: write(ledger, case_id, 4), ids))
    previous = genesis(0)
    found = list(ledger.links.of_lane(0))
    for number, link in enumerate(found, start=1):
        assert (link.number, link.hash, link.entry_hash) == (number, link_hash(previous, asdict(link)), link.head)
        previous = link.hash
    assert sorted((link.case_id, link.version) for link in found) == sorted(
        (case_id, version) for case_id in ids for version in range(1, 5)
    )


def test_a_commit_that_fails_leaves_no_link(ledger: Ledger) -> None:
    case = open_case(ledger, a_failure())
    hold = ledger.cases.hold(case.id, "one", LEASE)
    with pytest.raises(Corrupt), hold as held, held.transaction() as draft:  # noqa: PT012 (the second is refused)
        draft.move(a_movement())
        draft.move(a_movement(EntryKind.PLANNED, 2))
    assert ledger.links.heads() == {}


def test_a_case_whose_head_was_moved_back_is_not_written_to(ledger: Ledger) -> None:
    case = open_case(ledger, a_failure())
    write(ledger, case.id, 2)
    with ledger.database.write() as connection:
        connection.execute(sa.update(cases).values(version=1))
    with pytest.raises(Corrupt, match="has entries beyond its head"):
        write(ledger, case.id)


def test_the_first_entry_says_what_the_case_is_about_and_a_later_one_what_has_changed(ledger: Ledger) -> None:
    case = open_case(ledger, a_failure())
    write(ledger, case.id)
    with ledger.cases.hold(case.id, "one", LEASE) as held, held.transaction() as draft:
        draft.describe(kind=case.failure.kind, summary="told otherwise")
        draft.move(a_movement())
    write(ledger, case.id)
    told = [entry.detail.get(CASE) for entry in ledger.queries.entries(case.id)]
    assert told[0] is not None
    assert (told[0]["key"], told[0]["livemode"], told[0]["account"]) == (case.failure.key, False, None)
    assert told[1:] == [{"summary": "told otherwise"}, None]


def test_what_changes_without_a_record_moving_has_an_entry_of_its_own(ledger: Ledger) -> None:
    """A verdict that stands in no entry could be changed without a trace."""
    case = open_case(ledger, a_failure())
    write(ledger, case.id)
    with ledger.cases.hold(case.id, "one", LEASE) as held, held.transaction() as draft:
        draft.submissions.judged("case_1-1", 1, "impset_1", "succeeded", None)
        draft.show([RecordSetRef("cases/case_1/original-0", "0" * 64)])
    noted = ledger.queries.entries(case.id)[-1]
    assert (noted.kind, noted.records) == (EntryKind.NOTED, 0)
    assert noted.detail[SUBMISSIONS] == {"case_1-1": {"import_set_id": "impset_1", "verdict": "succeeded"}}
    assert noted.detail[EVIDENCE] == {"cases/case_1/original-0": "0" * 64}


def test_an_entry_says_by_which_bytes_of_stripe_it_came_about(ledger: Ledger) -> None:
    ledger.events.record(NewEvent("evt_1", "thin", "v1.billing.meter.error_report_triggered", False, b"{}"))
    case = open_case(ledger, a_failure())
    with ledger.cases.hold(case.id, "one", LEASE) as held, held.transaction() as draft:
        draft.move(a_movement(event_id="evt_1"))
        draft.move(a_movement(event_id="evt_never_seen"))
    event = ledger.events.get("evt_1")
    assert event is not None
    entries = ledger.queries.entries(case.id)
    assert [entry.detail.get(EVENT_DIGEST) for entry in entries] == [event.digest, None]


def test_events_are_read_in_pages_up_to_a_moment(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.kernel.ledger.events.PAGE", 2)
    for number in range(5):
        ledger.events.record(NewEvent(f"evt_{number}", "thin", "x", False, b"{}"))
    received = [event.id for page in ledger.events.pages() for event in page]
    assert received == [f"evt_{number}" for number in range(5)]
