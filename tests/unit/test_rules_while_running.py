"""If these fail, a running process keeps to old rules: `retry` says "retried" and changes nothing."""

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
import structlog

from tests.books import a_context, records_of, some_usage
from tests.builders import a_failure
from tests.conftest import FrozenClock
from tests.recording import RecordingAlerts, RecordingStripeApi
from workers import bootstrap
from workers.jobs import advance_case
from workers.kernel.errors import InputUnusable, Transient
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import Bucket
from workers.kernel.settings import Settings, load
from workers.pipeline.context import Context
from workers.pipeline.intake.open_case import Seen, take_in_seen
from workers.pipeline.intake.unlocated import Unlocated
from workers.pipeline.notify import deliver
from workers.pipeline.record_sets import DATA
from workers.pipeline.upkeep.retry import retry_case
from workers.schedule import duties
from workers.sweeper import sweep

CODE = "meter_event_customer_not_found"
METER = {
    "id": "mtr_1", "event_name": "api_calls", "status": "active", "default_aggregation": {"formula": "sum"},
    "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
    "value_settings": {"event_payload_key": "value"},
}  # fmt: skip
ALIAS = '[customers.aliases]\n"cus_1" = "cus_9"\n'
OTHER_ALIAS = '[customers.aliases]\n"cus_2" = "cus_9"\n'
NONE = "# none yet\n"
BROKEN = "[customers"


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rules file without a rule, and a process that was started with it."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.toml").write_text(NONE)
    monkeypatch.setenv("RULES_FILE", "rules.toml")
    return tmp_path / "rules.toml"


@pytest.fixture
def alerts(
    rules: Path, sqlite_ledger: Ledger, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RecordingAlerts]:
    """What the process posts. Its adapters only remember; its logging is put back afterwards."""
    posted = RecordingAlerts()
    stripe = RecordingStripeApi(meters=[METER], customers=[{"id": "cus_9"}])
    made = a_context(sqlite_ledger, rules.parent, clock, alerts=posted, stripe=stripe, target=None)
    monkeypatch.setattr(bootstrap, "build", lambda _settings: made)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    started_anew()
    bootstrap.context()
    yield posted
    started_anew()
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def started_anew() -> None:
    """Let another process take the place of this one."""
    bootstrap._of_process.cache_clear()


def aliases() -> dict[str, str]:
    """The customers that the next piece of work would take for others."""
    return dict(bootstrap.context().rules.customer_aliases.iter_rows())


def case_of_two(context: Context, key: str, first: int = 0) -> str:
    """Let Stripe refuse two records of the customer cus_1, whom it does not know."""
    failure = a_failure(key, code=CODE)
    rows = [some_usage(2, first=first)]
    return take_in_seen(context, Seen(failure, rows, DATA, "evt_1", Unlocated()))


def planned(context: Context, case_id: str) -> list[str]:
    found = records_of(context, case_id, Bucket.PLANNED)
    return [] if found is None else found.select("payload_stripe_customer_id").collect().to_series().to_list()


def test_a_rule_that_is_written_while_a_worker_runs_is_used_by_its_next_case(
    rules: Path, alerts: RecordingAlerts
) -> None:
    """All usage that comes until somebody restarts the workers would wait for a person."""
    first = case_of_two(bootstrap.context(), "import_set:1")
    advance_case(first)
    assert planned(bootstrap.context(), first) == []
    rules.write_text(ALIAS)
    second = case_of_two(bootstrap.context(), "import_set:2", first=2)
    advance_case(second)
    assert planned(bootstrap.context(), second) == ["cus_9", "cus_9"]


def test_a_retry_after_a_new_rule_is_planned_by_it(rules: Path, alerts: RecordingAlerts) -> None:
    """Told "retried", the operator would find the same records in quarantine, for the same reason."""
    case_id = case_of_two(bootstrap.context(), "import_set:1")
    advance_case(case_id)
    rules.write_text(ALIAS)
    assert retry_case(bootstrap.context(), case_id).reopened == 2
    advance_case(case_id)
    assert planned(bootstrap.context(), case_id) == ["cus_9", "cus_9"]


def test_a_rule_that_is_taken_back_while_a_worker_runs_repairs_nothing_more(
    rules: Path, alerts: RecordingAlerts
) -> None:
    """The operator has seen that it bills the wrong customer, and it would go on doing so."""
    rules.write_text(ALIAS)
    assert aliases() == {"cus_1": "cus_9"}
    rules.write_text(NONE)
    case_id = case_of_two(bootstrap.context(), "import_set:1")
    advance_case(case_id)
    assert planned(bootstrap.context(), case_id) == []


def test_a_piece_of_work_that_has_begun_ends_by_the_rules_it_began_with(
    rules: Path, alerts: RecordingAlerts
) -> None:
    """One plan would be made by two sets of rules, and its journal would name one of them."""
    begun = bootstrap.context()
    rules.write_text(ALIAS)
    assert begun.rules.customer_aliases.is_empty()
    assert aliases() == {"cus_1": "cus_9"}


@pytest.mark.parametrize("broken", [BROKEN, "[nonsense]\n", '[customers.aliases]\n"cus_1" = 7\n', None])
def test_while_the_file_is_broken_the_old_rules_stay_and_one_alert_says_so(
    rules: Path, alerts: RecordingAlerts, broken: str | None
) -> None:
    """Nobody would know that his rule is not followed; or the alert would come with every job until he looks."""
    rules.write_text(ALIAS)
    bootstrap.context()
    rules.unlink() if broken is None else rules.write_text(broken)
    case_id = case_of_two(bootstrap.context(), "import_set:1")
    advance_case(case_id)
    assert planned(bootstrap.context(), case_id) == ["cus_9", "cus_9"]
    assert headlines(alerts).count("the rules cannot be read") == 1
    [told] = [one for one in alerts.posted if one.headline == "the rules cannot be read"]
    assert told.next_step is not None
    assert told.next_step.command == "metermend doctor"
    assert "rules.toml" in str(vars(told))


def headlines(alerts: RecordingAlerts) -> list[str]:
    """What a person was told, once the clock has had its turn."""
    made, _ = bootstrap._of_process(os.getpid())
    deliver(made)
    return [one.headline for one in alerts.posted]


def test_two_processes_that_see_one_broken_file_tell_it_once(rules: Path, alerts: RecordingAlerts) -> None:
    """Forty workers would post forty alerts about one slip of the editor."""
    made, _ = bootstrap._of_process(0)
    fault = InputUnusable("it is not TOML", where="rules.toml")
    for owner in ("worker 1", "worker 2", "clock"):
        bootstrap.tell_of_rules(replace(made, owner=owner), fault)
    assert headlines(alerts) == ["the rules cannot be read"]


def test_another_slip_is_told_and_so_is_the_same_one_after_it_was_mended(
    rules: Path, alerts: RecordingAlerts
) -> None:
    """The second time nobody would hear of it, and every rule since would go unfollowed."""
    for text in (BROKEN, "[nonsense]\n", ALIAS, "[nonsense]\n"):
        rules.write_text(text)
        deliver(bootstrap.context())
    assert headlines(alerts) == ["the rules cannot be read"] * 3


def test_once_mended_the_new_rules_are_followed_without_a_word(rules: Path, alerts: RecordingAlerts) -> None:
    rules.write_text(BROKEN)
    bootstrap.context()
    rules.write_text(OTHER_ALIAS)
    assert aliases() == {"cus_2": "cus_9"}
    assert len(headlines(alerts)) == 1


def test_an_alert_channel_that_is_away_does_not_keep_the_worker_from_its_work(
    rules: Path, alerts: RecordingAlerts, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slip in the rules while Slack is down would stop all repairs, or nobody would hear of it afterwards."""

    def away(*_: object) -> None:
        raise Transient("Slack does not answer")

    rules.write_text(BROKEN)
    with monkeypatch.context() as patched:
        patched.setattr(alerts, "post", away)
        assert aliases() == {}
        assert headlines(alerts) == []
    clock.turn(minutes=1)
    assert headlines(alerts) == ["the rules cannot be read"]


def test_a_process_does_not_start_with_rules_that_it_cannot_read(
    rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no old rules to keep to, and would bill by none."""
    monkeypatch.setenv("STRIPE_API_KEY", "rk_test_1")
    rules.write_text(BROKEN)
    with pytest.raises(InputUnusable, match=r"rules\.toml"):
        bootstrap.build(load())


def test_without_a_rules_file_no_rule_is_made_up(
    rules: Path, alerts: RecordingAlerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RULES_FILE")
    rules.write_text(ALIAS)
    started_anew()
    assert aliases() == {}


def test_a_slip_that_was_mended_while_no_process_ran_is_told_when_it_is_made_again(
    rules: Path, alerts: RecordingAlerts
) -> None:
    """The ledger would go on calling it told, and nobody would hear that his rules are not followed."""
    rules.write_text(BROKEN)
    deliver(bootstrap.context())
    rules.write_text(NONE)
    started_anew()
    bootstrap.context()
    rules.write_text(BROKEN)
    bootstrap.context()
    assert headlines(alerts) == ["the rules cannot be read"] * 2


def test_a_clock_that_runs_takes_up_what_waits_once_the_file_changes(rules: Path, alerts: RecordingAlerts) -> None:
    """It would sweep by the rules that it was started with, and all that waits would wait until it restarts."""
    case_id = case_of_two(bootstrap.context(), "import_set:1")
    advance_case(case_id)
    clock = {duty.name: duty for duty in duties(bootstrap.context, Event())}
    clock["sweep"].work()
    rules.write_text(BROKEN)
    clock["sweep"].work()
    assert case_id not in [case.id for case in bootstrap.context().ledger.cases.due(10)]
    rules.write_text(ALIAS)
    clock["sweep"].work()
    assert case_id in [case.id for case in bootstrap.context().ledger.cases.due(10)]
    assert headlines(alerts).count("the rules cannot be read") == 1


def test_a_new_rule_takes_up_what_waits_for_its_customer(rules: Path, alerts: RecordingAlerts) -> None:
    """The operator says who is meant, and usage would wait a day, or until it is too old."""
    case_id = case_of_two(bootstrap.context(), "import_set:1")
    advance_case(case_id)
    sweep(bootstrap.context())
    rules.write_text(ALIAS)
    context = bootstrap.context()
    assert case_id not in [case.id for case in context.ledger.cases.due(10)]
    sweep(context)
    assert case_id in [case.id for case in context.ledger.cases.due(10)]
    advance_case(case_id)
    assert planned(bootstrap.context(), case_id) == ["cus_9", "cus_9"]
