"""Rules in the browser. If these fail, a rule repairs usage and nobody knows who made it, or how to end it."""

import pytest
from flask.testing import FlaskClient

from tests.conftest import FrozenClock
from tests.recording import RecordingJobQueue
from tests.unit.webhooks.pages.conftest import HOSTILE, LONG, As, Look
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.acts import ActState
from workers.kernel.ledger.rules import FILE_SAYS, MadeRule
from workers.kernel.ledger.users import Role


def made(
    ledger: Ledger, kind: str = "customer", key: str = "acme", value: str = "cus_1", why: str = "they merged"
) -> MadeRule:
    return ledger.rules.make(ledger.acts.ask("make_rule", None, {}, "ada", why), kind, key, value)


def test_no_rule_is_said_in_so_many_words(look: Look) -> None:
    assert "Nobody has made a rule" in look("/rules")


def test_a_rule_says_what_who_why_and_since_when(look: Look, sqlite_ledger: Ledger) -> None:
    rule = made(sqlite_ledger)
    page = look("/rules")
    assert "the customer <code>acme</code> is <code>cus_1</code>" in page
    assert f"/console/acts/{rule.act_id}" in page
    assert "ada <small>they merged</small>" in page
    assert "2026-11-21T09:30:00+00:00" in page


def test_what_ended_stays_to_be_seen_with_whoever_ended_it(
    look: Look, sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    sqlite_ledger.rules.revert(made(sqlite_ledger, value="cus_wrong").id, "bob")
    made(sqlite_ledger, key="other", value="cus_first")
    clock.turn(seconds=1)
    made(sqlite_ledger, key="other", value="cus_later")
    in_force, before = look("/rules").split(">Before ")
    assert "cus_later" in in_force
    assert "cus_first" not in in_force
    assert "cus_first" in before
    assert "reverted by bob" in before


def test_where_the_file_says_otherwise_it_is_said(look: Look, sqlite_ledger: Ledger) -> None:
    rule, _ = made(sqlite_ledger), made(sqlite_ledger, "meter", "calls", "api_calls")
    sqlite_ledger.checkpoints.save(FILE_SAYS, {rule.id: "cus_of_the_file"})
    page = look("/rules")
    assert page.count("rules.toml says <code>") == 1
    assert "cus_of_the_file" in page


def test_ending_a_rule_is_asked_for_shown_and_approved_as_every_act(
    operator: FlaskClient, sqlite_ledger: Ledger, queue: RecordingJobQueue
) -> None:
    rule = made(sqlite_ledger)
    where = operator.post(f"/console/acts/rule/{rule.id}/revert", data={"why": "they split again"})
    [act] = sqlite_ledger.acts.all(states=[ActState.ASKED], subject=rule.id)
    assert (act.kind, act.arguments, act.actor) == ("revert_rule", {"rule_id": rule.id}, "operator")
    assert where.headers["Location"] == f"/console/acts/{act.id}"
    assert queue.acts == [(act.id, 0)]
    assert sqlite_ledger.rules.get(rule.id).reverted_at is None


@pytest.mark.parametrize(("rule_id", "why", "status"), [("rule_none", "x", 404), (None, " ", 302)])
def test_a_rule_that_there_is_not_and_no_reason_end_nothing(
    operator: FlaskClient, sqlite_ledger: Ledger, rule_id: str | None, why: str, status: int
) -> None:
    rule = made(sqlite_ledger)
    answer = operator.post(f"/console/acts/rule/{rule_id or rule.id}/revert", data={"why": why})
    assert answer.status_code == status
    assert [act.kind for act in sqlite_ledger.acts.all()] == ["make_rule"]


def test_a_viewer_ends_no_rule(logged_in: As, sqlite_ledger: Ledger) -> None:
    viewer, rule = logged_in(Role.VIEWER), made(sqlite_ledger)
    assert viewer.post(f"/console/acts/rule/{rule.id}/revert", data={"why": "x"}).status_code == 403
    assert "Show what holds then" not in viewer.get("/console/rules").text


def test_names_that_mean_no_good_are_only_shown(look: Look, sqlite_ledger: Ledger) -> None:
    for kind in ("customer", "meter", "value_key", "decimal_mark", HOSTILE):
        made(sqlite_ledger, kind, f"{HOSTILE}{kind}", LONG, HOSTILE)
    assert look("/rules").count("&lt;script&gt;") >= 10
