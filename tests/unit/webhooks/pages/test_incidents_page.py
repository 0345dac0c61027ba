"""Incidents in the browser. If these fail, a message in Slack leads to nothing that somebody could work on."""

from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from tests.builders import a_failure, a_movement, open_case
from tests.conftest import FrozenClock
from tests.unit.webhooks.pages.conftest import HOSTILE, LONG, Look, next_page
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import EntryKind

HOUR = timedelta(hours=1)


def happens(ledger: Ledger, name: str, cause: str, title: str = "", **about: str) -> str:
    """A case that people are to be told of."""
    case_id = open_case(ledger, a_failure(name, **about)).id
    with ledger.cases.hold(case_id, "one", timedelta(minutes=5)) as held, held.transaction() as draft:
        draft.move(a_movement(EntryKind.SEEN, 12))
    case = ledger.cases.get(case_id)
    assert case is not None
    ledger.incidents.note(case, cause, {"title": title} if title else {}, HOUR)
    return case_id


def test_nothing_to_tell_is_said_in_so_many_words(look: Look) -> None:
    assert "Nothing has happened that people had to be told of." in look("/incidents")


def test_an_incident_of_one_case_is_called_like_it(look: Look, sqlite_ledger: Ledger) -> None:
    """The id of a meter, which may be all that a cause has, tells whoever is called at night nothing."""
    case_id = happens(sqlite_ledger, "a", "no_meter on mtr_1", "12 records of tokens go to no meter")
    assert "12 records of tokens go to no meter" in look("/incidents")
    assert "mtr_1" not in look("/incidents")
    assert "<h1>12 records of tokens" in look(f"/incidents/{sqlite_ledger.incidents.of_case(case_id)}")
    happens(sqlite_ledger, "b", "no_meter on mtr_1", "3 records of tokens go to no meter")
    assert "no_meter on mtr_1" in look("/incidents"), "of several it is what they have in common"


def test_an_incident_leads_to_its_cases_and_to_no_others(look: Look, sqlite_ledger: Ledger) -> None:
    mine = [happens(sqlite_ledger, name, "no_meter on tokens") for name in "ab"]
    other = happens(sqlite_ledger, "c", "another cause")
    incident = sqlite_ledger.incidents.of_case(mine[0])
    assert f"/console/incidents/{incident}" in look("/incidents")
    page = look(f"/incidents/{incident}")
    assert all(f"/console/cases/{case_id}" in page for case_id in mine)
    assert f"/console/cases/{other}" not in page
    assert f"/console/cases?incident={incident}" in page
    assert f"metermend retry {incident}" in page
    assert "records of 2 cases" in page
    assert f"/console/cases/{other}" not in look("/cases", incident=str(incident))


@pytest.mark.usefixtures("short_pages")
def test_many_incidents_go_on_over_pages(look: Look, sqlite_ledger: Ledger, clock: FrozenClock) -> None:
    for each in range(5):
        clock.turn(seconds=1)
        happens(sqlite_ledger, f"{each}", f"cause {each:02}.")
    first = look("/incidents")
    address = next_page(first)
    assert "cause 00." not in first
    assert "cause 00." in look(address)


def test_names_that_mean_no_good_are_only_shown(look: Look, sqlite_ledger: Ledger) -> None:
    case_id = happens(sqlite_ledger, "a", f"{HOSTILE} {LONG}", account=HOSTILE)
    assert "&lt;script&gt;" in look("/incidents")
    assert "&lt;script&gt;" in look(f"/incidents/{sqlite_ledger.incidents.of_case(case_id)}")


def test_an_incident_that_there_is_not_has_no_page(operator: FlaskClient) -> None:
    assert operator.get("/console/incidents/inc_none").status_code == 404
