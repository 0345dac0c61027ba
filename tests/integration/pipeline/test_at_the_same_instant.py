"""Workers that ask the guards at the same instant: each sees nothing in its way, and only one of them is right."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from fixtures.twin import Twin
from tests.integration.pipeline.loop import Loop, SteeredClock, name_no_sources, submit_by_api_too, usage
from tests.integration.pipeline.test_attacks_planning import (
    an_hour_ago,
    an_hour_that_has_passed,
    assert_proved,
    reasons,
    rfc3339,
)
from workers.kernel.ledger import connect
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.run import carry_on
from workers.targets import Outgoing, Progress, Sent


@pytest.fixture
def loop(tmp_path: Path, database_url: str) -> Iterator[Loop]:
    """One company on each database. Its target is away until a test gives it back."""
    clock = SteeredClock()
    ledger = connect(database_url, clock)
    (tmp_path / "bucket").mkdir()
    with Twin(bucket=f"file://{tmp_path / 'bucket'}", poll_seconds=1e9) as twin:
        twin.add_meter("api_requests")
        twin.add_meter("gauge", event_time_window="hour")
        twin.add_customers(["cus_1", "cus_2", "cus_3"])
        yield Loop(tmp_path, twin, ledger, clock)
    ledger.close()


class Interrupted:
    """A target whose name is asked for after the guards and before the intent: there something else may happen.

    It is asked for once before the guards, too, to see whether a person uploads.
    """

    def __init__(self, target: Any, meanwhile: Callable[[], object]) -> None:
        self._target, self._meanwhile, self._guarded = target, meanwhile, False

    @property
    def name(self) -> str:
        if self._guarded:
            self._meanwhile()
        self._guarded = True
        return str(self._target.name)

    @property
    def at_once(self) -> bool:
        return True

    def lies_there(self, _: str) -> bool:
        return False

    def keep_pace(self) -> None:
        """Let everything go at once."""

    def send(self, outgoing: Outgoing, progress: Progress) -> Sent:
        sent: Sent = self._target.send(outgoing, progress)
        return sent


def planned(loop: Loop, **files: str) -> list[str]:
    """Let each file bring a faulty row that is planned but not sent; return their cases."""
    able = loop.context
    loop.context = replace(able, target=None)
    for name, row in files.items():
        loop.upload(f"{name}.csv", usage(row))
    loop.context = able
    assert loop.balance[Bucket.PLANNED].records == len(files)
    return [case.id for case in loop.cases()]


def work_at_the_same_instant(loop: Loop, cases: list[str]) -> None:
    """Let a worker take up each case, and none write its intent before all have asked their guards."""
    barrier, met = threading.Barrier(len(cases), timeout=60), threading.local()

    def meet() -> None:
        if not hasattr(met, "once"):
            met.once = True
            barrier.wait()

    def work(case_id: str) -> float | None:
        target = Interrupted(loop.context.target, meet)
        return carry_on(replace(loop.context, owner=uuid4().hex, target=target), case_id)

    with ThreadPoolExecutor(len(cases)) as workers:
        assert list(workers.map(work, cases)) == [None] * len(cases)


def submitted(loop: Loop) -> int:
    """How many submissions there are."""
    return sum(len(loop.ledger.submissions.of_case(case.id)) for case in loop.cases())


def test_two_workers_do_not_fill_one_window_at_the_same_instant(loop: Loop) -> None:
    """The meter keeps the last value received, and which that is would be left to chance."""
    name_no_sources(loop)
    hour = an_hour_that_has_passed()
    cases = planned(
        loop, a=f"a-1,{rfc3339(hour + 60)},gauge,cus_1,10", b=f"b-1,{rfc3339(hour + 30)},gauge,cus_1,99"
    )
    work_at_the_same_instant(loop, cases)
    assert submitted(loop) == 1
    assert reasons(loop) == ["would_overwrite"]
    assert_proved(loop)


def test_two_workers_do_not_send_the_same_usage_at_the_same_instant(loop: Loop) -> None:
    """Two cases may give it different identifiers, and then Stripe would bill both."""
    row = f"use-1,{an_hour_ago()},api_requests, cus_1 ,40"
    work_at_the_same_instant(loop, planned(loop, monday=row, again=row))
    assert submitted(loop) == 1
    assert reasons(loop) == ["already_resubmitted"]
    loop.stripe_works()
    assert loop.billed() == {("api_requests", "cus_1"): "40"}
    assert_proved(loop)


def test_workers_that_do_not_concern_each_other_all_send(loop: Loop) -> None:
    """Usage would wait, or go to a person, only because another case was quicker."""
    hour = rfc3339(an_hour_that_has_passed())
    rows = {f"file{n}": f"use-{n},{hour},gauge,cus_{n},10" for n in (1, 2, 3)}
    work_at_the_same_instant(loop, planned(loop, **rows))
    assert submitted(loop) == 3
    assert reasons(loop) == []
    loop.stripe_works()
    assert loop.billed() == {("gauge", f"cus_{n}"): "10" for n in (1, 2, 3)}


def test_a_case_that_is_always_overtaken_waits_where_it_can_be_seen(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would keep a worker busy for as long as the others' flood lasts, and nobody would know why."""
    monkeypatch.setattr("workers.pipeline.submit.preflight.MOST_OVERTAKEN", 2)
    hour = rfc3339(an_hour_that_has_passed())
    slow, *quick = planned(loop, **{f"file{n}": f"use-{n},{hour},gauge,cus_{n},10" for n in (1, 2, 3)})
    submit_by_api_too(loop)
    target = Interrupted(loop.context.target, lambda: carry_on(replace(loop.context, owner="quick"), quick.pop()))
    assert carry_on(replace(loop.context, owner="slow", target=target), slow) is not None
    case = loop.ledger.cases.get(slow)
    assert case is not None
    assert case.trouble == "other submissions of the account keep going first"
    assert case.balance[Bucket.PLANNED].records == 1
    carry_on(loop.context, slow)
    assert submitted(loop) == 3
