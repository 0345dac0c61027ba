"""If these fail, usage that a lost ledger has sent is billed a second time by the one that takes its place."""

import shutil
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.integration.pipeline.loop import Loop, usage
from tests.integration.pipeline.test_attacks_planning import assert_proved, reasons
from workers.archive import Archive
from workers.cli.db import migrate
from workers.kernel.ledger import connect
from workers.kernel.ledger.journal import Bucket
from workers.kernel.reasons import PERHAPS_SENT_BEFORE
from workers.kernel.storage import open_store
from workers.pipeline.restores import last_restore, note_restore
from workers.pipeline.upkeep import backup
from workers.pipeline.upkeep.reconcile import OVERLAP, reconcile, start_from_now
from workers.pipeline.upkeep.retry import retry_case
from workers.remedies.rules import parse_rules
from workers.targets.meter_events import MeterEventsTarget


@pytest.fixture
def api_loop(loop: Loop) -> Loop:
    loop.context = replace(loop.context, target=MeterEventsTarget(loop.context.stripe, loop.clock))
    return loop


def turn(loop: Loop, **by: float) -> None:
    loop.clock.turn(**by)
    loop.twin.clock.advance(timedelta(**by).total_seconds())


def back_up(loop: Loop, folder: Path) -> None:
    loop.ledger.close()
    shutil.copy(folder / "ledger.db", folder / "backup.db")
    shutil.copytree(folder / "archive", folder / "archive.backup", dirs_exist_ok=True) if (
        folder / "archive"
    ).exists() else None


def restore(loop: Loop, folder: Path, *, said: bool) -> None:
    """Let the ledger be lost, and its backup take its place."""
    loop.ledger.close()
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (folder / name).unlink(missing_ok=True)
    shutil.copy(folder / "backup.db", folder / "ledger.db")
    if said:
        lost = note_restore(loop.ledger, loop.clock())
        list(reconcile(loop.context, lost.since - OVERLAP))
    list(reconcile(loop.context))


def go_on(loop: Loop) -> None:
    for _ in range(3):
        loop.work()
        loop.stripe_works()
        loop.pass_window()


def total(loop: Loop) -> list[str]:
    return [line["total"] for line in loop.twin.billed() if line["customer"] == "cus_1"]


@pytest.mark.parametrize(("hours", "said"), [(1, True), (22, True), (23.5, False), (26, True), (24 * 10, False)])
def test_what_was_sent_after_the_backup_is_not_sent_again(
    api_loop: Loop, tmp_path: Path, hours: float, *, said: bool
) -> None:
    """Stripe forgets an identifier after a day: 5 was billed as 10."""
    back_up(api_loop, tmp_path)
    start_from_now(api_loop.context)
    turn(api_loop, minutes=5)
    api_loop.upload("a.csv", usage("i1,{t},api_requests,cus_1,+5"))
    go_on(api_loop)
    assert total(api_loop) == ["5"]
    turn(api_loop, hours=hours)
    restore(api_loop, tmp_path, said=said)
    go_on(api_loop)
    assert total(api_loop) == ["5"]
    sure = not said and hours < 23  # Stripe repeats its answer to the same call
    assert api_loop.balance[Bucket.CONFIRMED if sure else Bucket.QUARANTINED].records == 1
    assert_proved(api_loop)


def test_what_was_planned_before_the_backup_and_sent_after_it_is_not_sent_again(
    api_loop: Loop, tmp_path: Path
) -> None:
    """Its event came in time, so only the restore itself tells that somebody else may have sent it."""
    able = api_loop.context
    api_loop.context = replace(able, target=None)
    api_loop.upload("a.csv", usage("i1,{t},api_requests,cus_1,+5"))
    back_up(api_loop, tmp_path)
    api_loop.context = able
    case_id = api_loop.cases()[0].id
    retry_case(api_loop.context, case_id)
    go_on(api_loop)
    assert total(api_loop) == ["5"]
    turn(api_loop, hours=20)
    restore(api_loop, tmp_path, said=True)
    retry_case(api_loop.context, case_id)
    go_on(api_loop)
    assert (total(api_loop), reasons(api_loop)) == (["5"], [PERHAPS_SENT_BEFORE])
    assert_proved(api_loop)


def test_what_was_sent_after_a_backup_of_ours_is_not_sent_again_once_it_is_restored(
    api_loop: Loop, tmp_path: Path
) -> None:
    """Planned in the backup, sent after it: 5 would be billed as 10."""
    able, place = api_loop.context, backup.Place.at(str(tmp_path / "backups"))
    api_loop.context = replace(able, target=None)
    api_loop.upload("a.csv", usage("i1,{t},api_requests,cus_1,+5"))
    backup.back_up(api_loop.ledger, able.archive, place, tmp_path / "scratch", api_loop.clock())
    api_loop.context = able
    retry_case(able, api_loop.cases()[0].id)
    go_on(api_loop)
    assert total(api_loop) == ["5"]
    turn(api_loop, hours=20)
    url = f"sqlite:///{tmp_path / 'new.db'}"
    migrate(url)
    api_loop.ledger = connect(url, api_loop.clock)
    files = open_store(str(tmp_path / "new-archive"))
    backup.restore(place, None, api_loop.ledger, files, tmp_path / "scratch", api_loop.clock())
    archive = Archive(files, tmp_path / "new-scratch")
    api_loop.context = replace(able, ledger=api_loop.ledger, archive=archive)
    retry_case(api_loop.context, api_loop.cases()[0].id)
    go_on(api_loop)
    assert (total(api_loop), reasons(api_loop)) == (["5"], [PERHAPS_SENT_BEFORE])
    assert_proved(api_loop)
    api_loop.ledger.close()


def late(loop: Loop, *rows: str, deliver: bool = True) -> None:
    """Let refusals arrive after a day on which our endpoint was away."""
    with patch.object(loop, "receive"):
        loop.upload("a.csv", usage(*rows))
    turn(loop, hours=26)
    if deliver:
        list(reconcile(loop.context))
        go_on(loop)


def other_usage(loop: Loop, row: str) -> None:
    loop.upload("sound.csv", usage(row))


def test_what_nobody_has_sent_goes_though_it_came_late(api_loop: Loop) -> None:
    """An outage of our endpoint must not leave everything to a person."""
    late(api_loop, "i1,{t},api_requests,cus_1,+5")
    assert (total(api_loop), reasons(api_loop)) == (["5"], [])


HOLDS: list[tuple[str, dict[str, Any], str, str]] = [
    ("the same minute", {}, "x1,{t},api_requests,cus_1,3", "api_requests"),
    ("a meter that counts", {"formula": "count"}, "x1,{t},counts,cus_1,3", "counts"),
    ("dimensions", {"dimension_payload_keys": []}, "x1,{t},other,cus_1,3", "other"),
    ("a meter that keeps the last", {"formula": "last"}, "x1,{t},lasts,cus_2,3", "lasts"),
]


@pytest.mark.parametrize(("meter", "sound", "name"), [h[1:] for h in HOLDS], ids=[h[0] for h in HOLDS])
def test_what_stripe_cannot_clear_goes_before_a_person(
    api_loop: Loop, meter: dict[str, Any], sound: str, name: str
) -> None:
    if meter:
        formula = meter.get("formula", "sum")
        api_loop.twin.add_meter(name, formula=formula) if "formula" in meter else api_loop.twin.add_meter(name)
    other_usage(api_loop, sound)
    late(api_loop, f"i1,{{t}},{name},cus_1,+5")
    assert reasons(api_loop) == [PERHAPS_SENT_BEFORE]
    assert_proved(api_loop)


CLEARS = [
    "x1,{t},api_requests,cus_2,3",
    "x1,{other},api_requests,cus_1,3",
    "x1,{t},api_requests,cus_1,0",
]


@pytest.mark.parametrize("sound", CLEARS, ids=["another customer", "another minute", "nothing"])
def test_usage_that_is_not_of_its_minute_holds_nothing_back(api_loop: Loop, sound: str) -> None:
    other_usage(api_loop, sound.replace("{other}", str(int(time.time()) - 7200)))
    late(api_loop, "i1,{t},api_requests,cus_1,+5")
    assert reasons(api_loop) == []


def test_stripes_totals_that_cannot_be_read_are_waited_for(api_loop: Loop) -> None:
    late(api_loop, "i1,{t},api_requests,cus_1,+5", deliver=False)
    api_loop.twin.fail_next("status", path="*event_summaries", status=500, times=4)
    list(reconcile(api_loop.context))
    api_loop.work()
    assert total(api_loop) == []
    assert api_loop.balance[Bucket.PLANNED].records == 1
    turn(api_loop, minutes=20)
    go_on(api_loop)
    assert total(api_loop) == ["5"]


def test_a_record_that_a_rule_has_moved_in_time_is_held(api_loop: Loop) -> None:
    """The other ledger has planned it at another moment, so it may have sent it to another minute."""
    rules = parse_rules("[timestamps]\nclamp_too_old = true")
    api_loop.context = replace(api_loop.context, rules=rules)
    old = int(time.time()) - 40 * 86_400
    late(api_loop, f"i1,{old},api_requests,cus_1,5")
    assert reasons(api_loop) == [PERHAPS_SENT_BEFORE]


def test_somebody_who_has_compared_lets_it_go_once_and_by_name(api_loop: Loop) -> None:
    other_usage(api_loop, "x1,{t},api_requests,cus_1,3")
    late(api_loop, "i1,{t},api_requests,cus_1,+5")
    case_id = api_loop.cases()[0].id
    kept = retry_case(replace(api_loop.context, owner="operator"), case_id)
    assert dict(kept.kept_back) == {PERHAPS_SENT_BEFORE: 1}
    retry_case(replace(api_loop.context, owner="operator"), case_id, approved_by="ada")
    go_on(api_loop)
    assert (total(api_loop), reasons(api_loop)) == (["8"], [])
    assert_proved(api_loop)


def test_what_is_refused_after_a_restore_is_not_in_doubt(api_loop: Loop, tmp_path: Path) -> None:
    other_usage(api_loop, "x1,{t},api_requests,cus_1,3")
    back_up(api_loop, tmp_path)
    restore(api_loop, tmp_path, said=True)
    turn(api_loop, minutes=1)
    api_loop.upload("a.csv", usage("i1,{t},api_requests,cus_1,+5"))
    go_on(api_loop)
    assert total(api_loop) == ["8"]


def test_the_gap_begins_with_the_newest_moment_that_the_ledger_knows(loop: Loop) -> None:
    assert last_restore(loop.context) is None
    loop.upload("a.csv", usage("i1,{t},api_requests,cus_1,+5"))
    before = loop.clock()
    turn(loop, days=3)
    lost = note_restore(loop.ledger, loop.clock())
    assert lost.since <= before
    assert before - lost.since < timedelta(minutes=1)
    turn(loop, days=1)
    again = note_restore(loop.ledger, loop.clock())
    assert again.since >= lost.until
    assert last_restore(loop.context) == again.until
