"""If the pace is not held, Stripe turns calls away and the account's other traffic suffers."""

from hypothesis import given
from hypothesis import strategies as st

from workers.stripe_api.pace import BURST_SECONDS, FLOOR, HALVE_EVERY, Pace


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@given(per_second=st.integers(1, 500), idle=st.lists(st.floats(0, 0.5), min_size=2, max_size=60))
def test_no_second_holds_more_than_the_ceiling_and_its_burst(per_second: int, idle: list[float]) -> None:
    time = Time()
    pace, sent = Pace(per_second, time, time.sleep), []
    for pause in idle:
        time.now += pause
        pace.wait()
        sent.append(time.now)
    for first in sent:
        assert sum(first <= at < first + 1 for at in sent) <= per_second * (1 + BURST_SECONDS) + 1


def test_a_refusal_halves_the_pace_once_however_many_calls_it_met() -> None:
    time = Time()
    pace = Pace(100, time, time.sleep)
    for _ in range(8):
        pace.slow_down()
    assert pace.per_second == 50
    time.now += HALVE_EVERY
    pace.slow_down()
    assert pace.per_second == 25


def test_the_pace_never_stops_and_comes_back() -> None:
    time = Time()
    pace = Pace(100, time, time.sleep)
    for _ in range(60):
        pace.slow_down()
        time.now += HALVE_EVERY
    assert pace.per_second == FLOOR
    time.now += 3600
    pace.wait()
    assert pace.per_second == 100
