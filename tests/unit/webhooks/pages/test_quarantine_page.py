"""What waits by its cause. If these fail, whoever decides sees a million rows, or not the cause that costs most."""

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from flask.testing import FlaskClient

from tests.builders import a_failure, a_movement, open_case
from tests.recording import RecordingJobQueue
from tests.unit.webhooks.pages.conftest import HOSTILE, LONG, As, Look
from webhooks.console.offers import OFFERS
from workers.kernel.advice import MAPPED
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.acts import ActState
from workers.kernel.ledger.appraisal import Appraisal
from workers.kernel.ledger.case_facts import CaseFacts
from workers.kernel.ledger.journal import Bucket, EntryKind, Tally
from workers.kernel.ledger.standings import Cause, Standing
from workers.kernel.ledger.users import Role
from workers.kernel.reasons import ARRIVAL_UNKNOWN, NOT_SAMPLED
from workers.pipeline.desk.desk import order_of
from workers.pipeline.desk.retry_orders import Retry
from workers.pipeline.desk.waiting import Chosen

UNKNOWN = Cause("meter_event_customer_not_found", "meter_event_customer_not_found", "tokens", "acme")


def waits(ledger: Ledger, name: str, *causes: Cause, records: int = 12) -> str:
    """A case of which records wait for each cause; each for one record more than that before it."""
    case_id = open_case(ledger, a_failure(name)).id
    waiting = [
        Standing(Bucket.QUARANTINED, cause, Tally(records + number, Decimal("4.50")))
        for number, cause in enumerate(causes)
    ]
    total = sum((one.tally for one in waiting), Tally())
    with ledger.cases.hold(case_id, "one", timedelta(minutes=5)) as held, held.transaction() as draft:
        seen, aside = (
            a_movement(kind, total.records, str(total.quantity)) for kind in (EntryKind.SEEN, EntryKind.QUARANTINED)
        )
        reasons = {one.cause.reason: one.tally.records for one in waiting}
        draft.move(seen, replace(aside, detail={"reasons": reasons}))
        draft.know(CaseFacts({}, {}, 1, waiting), Appraisal(total.records, None))
    return case_id


def test_nothing_that_waits_is_said_in_so_many_words(look: Look) -> None:
    assert "Nothing waits for a person." in look("/quarantine")


def test_a_cause_says_what_happened_what_to_do_and_where_to_do_it(look: Look, sqlite_ledger: Ledger) -> None:
    case_id = waits(sqlite_ledger, "a", UNKNOWN)
    page = look("/quarantine")
    assert "12 records of tokens name customers that Stripe does not know" in page
    assert "metermend map customer acme NEW --reason WHY" in page
    assert f"/console/cases/{case_id}?act=map_customer&amp;old=acme#decide" in page
    assert 'value="acme"' in look(f"/cases/{case_id}", act="map_customer", old="acme"), "nobody types it again"
    assert '<td data-label="Quantity" class="n">4.5</td>' in page


def test_a_thousand_cases_of_a_cause_are_one_row_with_the_largest_of_them(
    look: Look, sqlite_ledger: Ledger
) -> None:
    ids = [waits(sqlite_ledger, f"{each}", UNKNOWN, records=10 + each) for each in range(4)]
    page = look("/quarantine")
    assert "46 records of tokens" in page
    assert "4 cases" in page
    assert [case_id for case_id in ids if f"/console/cases/{case_id}" in page] == ids[-3:]


@pytest.mark.usefixtures("short_pages")
def test_many_causes_go_on_over_pages_the_largest_first(look: Look, sqlite_ledger: Ledger) -> None:
    waits(sqlite_ledger, "a", *(Cause("no_meter", "no_meter", f"meter_{each}") for each in range(5)))
    first, second = look("/quarantine"), look("/quarantine", page="2")
    assert all((f"meter_{each}" in first) != (f"meter_{each}" in second) for each in range(5))
    assert first.index("meter_4") < first.index("meter_3")
    assert "Smaller causes" in first
    assert "Larger causes" in second


def test_a_cause_leads_to_its_case_though_the_file_was_refused_for_several(
    look: Look, sqlite_ledger: Ledger
) -> None:
    """A case of a file has no code of its own, or another one."""
    case_id = waits(sqlite_ledger, "a", Cause("timestamp_in_future", "", "tokens"))
    assert f"/console/cases/{case_id}" in look("/cases", code="timestamp_in_future", state="needs_person")
    assert f"/console/cases/{case_id}" not in look("/cases", code="no_meter")


@pytest.mark.parametrize("page", ["0", "-1", "nonsense", "9" * 50, "\u0663"])
def test_a_page_that_there_is_not_is_another_one(look: Look, sqlite_ledger: Ledger, page: str) -> None:
    waits(sqlite_ledger, "a", UNKNOWN)
    assert "cause" in look("/quarantine", page=page)


def test_only_what_is_asked_for_is_shown(look: Look, sqlite_ledger: Ledger) -> None:
    waits(sqlite_ledger, "a", UNKNOWN)
    waits(sqlite_ledger, "b", Cause("no_meter", "no_meter", "minutes"))
    page = look("/quarantine", meter="minutes")
    assert "of minutes" in page
    assert "of tokens" not in page
    assert "Nothing waits for a person for such a cause." in look("/quarantine", customer="nobody")


def test_names_that_mean_no_good_are_only_shown(look: Look, sqlite_ledger: Ledger) -> None:
    waits(sqlite_ledger, "a", Cause(HOSTILE, HOSTILE, HOSTILE, HOSTILE))
    waits(sqlite_ledger, "b", Cause("meter_event_customer_not_found", "", LONG, f"{LONG} $(reboot)"))
    page = look("/quarantine")
    assert "&lt;script&gt;" in page
    assert "map customer &#39;" in page, "what is copied into a terminal is one word there"
    assert LONG in page


def test_what_no_worker_has_grouped_yet_is_not_kept_back(look: Look, sqlite_ledger: Ledger) -> None:
    waits(sqlite_ledger, "a", UNKNOWN)
    case_id = open_case(sqlite_ledger, a_failure("b")).id
    with sqlite_ledger.cases.hold(case_id, "one", timedelta(minutes=5)) as held, held.transaction() as draft:
        draft.move(a_movement(EntryKind.SEEN, 3), a_movement(EntryKind.QUARANTINED, 3))
    assert "3 records more wait in cases that no worker has looked at since" in look("/quarantine")


def test_all_cases_of_a_cause_are_planned_anew_as_a_worker_shows_and_somebody_approves(
    operator: FlaskClient, look: Look, sqlite_ledger: Ledger, queue: RecordingJobQueue
) -> None:
    ids = [waits(sqlite_ledger, name, UNKNOWN) for name in "ab"]
    waits(sqlite_ledger, "c", Cause("no_meter", "no_meter", "tokens"))
    assert look("/quarantine").count("Retry all") == 1
    form = {"code": UNKNOWN.code, "reason": UNKNOWN.reason, "meter": UNKNOWN.meter, "why": "the customer is back"}
    answer = operator.post("/console/quarantine/plan-anew", data=form)
    [act] = sqlite_ledger.acts.all()
    assert (act.kind, act.actor, act.state) == ("retry", "operator", ActState.ASKED)
    assert sorted(act.arguments["cases"]) == sorted(ids)
    assert act.arguments["chosen"] == {name: form[name] for name in ("code", "reason", "meter")}
    assert order_of(act.kind, act.arguments) == Retry(act.arguments["cases"], [], Chosen(**act.arguments["chosen"]))
    assert answer.headers["Location"] == f"/console/acts/{act.id}"
    assert queue.acts == [(act.id, 0)]


@pytest.mark.parametrize("form", [{"why": " "}, {"why": "x", "code": "nobody has it"}])
def test_without_a_reason_or_a_record_nothing_is_asked_for(
    operator: FlaskClient, sqlite_ledger: Ledger, form: dict[str, str]
) -> None:
    waits(sqlite_ledger, "a", UNKNOWN)
    assert operator.post("/console/quarantine/plan-anew", data=form).status_code == 302
    assert sqlite_ledger.acts.all() == []


def test_a_viewer_plans_nothing_anew(logged_in: As, sqlite_ledger: Ledger) -> None:
    for name in "ab":
        waits(sqlite_ledger, name, UNKNOWN)
    viewer = logged_in(Role.VIEWER)
    assert viewer.post("/console/quarantine/plan-anew", data={"why": "x"}).status_code == 403
    assert "Retry all" not in viewer.get("/console/quarantine").text


def test_what_may_be_billed_already_is_not_planned_anew_by_the_hundred(look: Look, sqlite_ledger: Ledger) -> None:
    for name in "ab":
        waits(sqlite_ledger, name, Cause("no_meter", ARRIVAL_UNKNOWN, "tokens"))
    page = look("/quarantine")
    assert "?act=release#decide" in page
    assert "Retry all" not in page


def test_every_rule_that_mends_a_code_has_its_form_on_the_page_of_a_case(look: Look, sqlite_ledger: Ledger) -> None:
    waits(sqlite_ledger, "a", *(Cause(code, code, "tokens", "acme") for code in MAPPED))
    asked = set(re.findall(r"\?act=(\w+)[^#]*#decide", look("/quarantine")))
    assert asked == {
        "map_customer",
        "map_meter",
        "map_value_key",
        "map_decimal_mark",
        "fix_by_file",
        "retry",
        "corrected",
        "write_off",
    }
    assert asked - {"fix_by_file"} <= set(OFFERS)


def test_a_value_is_mended_from_the_row_of_its_cause_where_a_row_is_known(
    look: Look, sqlite_ledger: Ledger
) -> None:
    """Whoever reads "write it as epoch seconds" must see where; what is only counted has no row to edit."""
    waits(sqlite_ledger, "a", Cause("malformed_record", "timestamp_malformed", "tokens"))
    waits(sqlite_ledger, "b", Cause("no_meter", NOT_SAMPLED, "tokens"))
    assert "?act=fix_by_file#decide" in look("/quarantine", reason="timestamp_malformed")
    assert "?act=fix_by_file#decide" not in look("/quarantine", reason=NOT_SAMPLED)


def test_a_code_of_stripes_says_what_it_asks_for(look: Look, sqlite_ledger: Ledger) -> None:
    """The terminal does; a page that only sends on to the records leaves the reader with a code."""
    waits(sqlite_ledger, "a", Cause("timestamp_too_far_in_past", "timestamp_too_far_in_past", "tokens"))
    assert "Bill it otherwise, or let a rule clamp or re-date it" in look("/quarantine")
