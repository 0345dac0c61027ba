"""If this fails, an odd request takes the web down, or an event that Stripe was told is safe is not."""

import pytest

from bench.siege.siege import lay
from bench.siege.web import running


@pytest.mark.xdist_group("siege")
def test_the_web_holds_under_odd_requests_and_keeps_what_it_acknowledged() -> None:
    """`make siege` fires a hundred thousand."""
    with running() as web:
        outcome = lay(web, range(8), 200)
        said = web.log.read_text()
    assert (outcome.lost, outcome.hangs, outcome.faults, outcome.deaths) == ([], 0, 0, 0)
    assert outcome.requests == 1600
    assert len(outcome.acknowledged) > 300
    assert "Traceback" not in said
