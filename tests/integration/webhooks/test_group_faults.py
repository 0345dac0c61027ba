"""If these fail, Stripe is told that an event is safe that is not, or it is worked on twice, in bad times."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import FrozenClock
from tests.integration.webhooks.conftest import an_event, signed, some_settings
from tests.recording import RecordingJobQueue
from webhooks.app import create_app
from workers.kernel.errors import LedgerUnavailable, Transient
from workers.kernel.ledger import Ledger, connect
from workers.kernel.ledger.events import NewEvent

COMMITS = st.lists(st.sampled_from(["sound", "fails", "is committed and fails"]), max_size=8)
HINTS = st.lists(st.booleans(), max_size=8)
POSTS = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=40)
"""Numbers of events, some of them posted again, and whether no commit takes one."""


class FailingQueue(RecordingJobQueue):
    """Takes hints, or is away, in turn."""

    def __init__(self, answers: Iterator[bool]) -> None:
        super().__init__()
        self._answers = answers

    def enqueue_new(self, event_ids: Sequence[str], *, large: bool = False) -> None:
        if not next(self._answers):
            raise Transient("the job queue does not answer")
        super().enqueue_new(event_ids, large=large)


def fail(ledger: Ledger, faults: Iterator[str]) -> Counter[str]:
    """Let commits fail in turn, and count how often each event was found to be new."""
    commit, found_new = ledger.events.record_together, Counter[str]()

    def failing(receipts: Sequence[NewEvent]) -> list[bool]:
        if any(receipt.object_id == "poison" for receipt in receipts):
            raise ValueError("this one cannot be stored")
        fault = next(faults)
        if fault == "fails":
            raise LedgerUnavailable("away")
        are_new = commit(receipts)
        found_new.update(one.id for one, is_new in zip(receipts, are_new, strict=True) if is_new)
        if fault != "sound":
            raise LedgerUnavailable("the answer to the commit was lost")
        return are_new

    ledger.events.record_together = failing  # type: ignore[method-assign]
    return found_new


@given(together=st.integers(1, 4), commits=COMMITS, hints=HINTS, posts=POSTS)
def test_whatever_goes_wrong_a_200_means_that_the_event_is_committed_once(
    migrated_sqlite: Path, together: int, commits: list[str], hints: list[bool], posts: list[tuple[int, bool]]
) -> None:
    clock = FrozenClock()
    with (
        TemporaryDirectory() as folder,
        ThreadPoolExecutor(8) as pool,
        patch("webhooks.group_commit.MOST_TOGETHER", together),
    ):
        (Path(folder) / "ledger.db").write_bytes(migrated_sqlite.read_bytes())
        ledger = connect(f"sqlite:///{folder}/ledger.db", clock)
        queue = FailingQueue(chain(hints, repeat(True)))
        app = create_app(some_settings(), ledger=ledger, queue=queue, clock=clock)
        found_new = fail(ledger, chain(commits, repeat("sound")))

        def answered(post: tuple[int, bool]) -> tuple[str, int]:
            number, poison = post
            event_id = f"evt_{number}{'_poison' if poison else ''}"
            body = an_event(id=event_id, data={"object": {"id": "poison" if poison else "impset_1"}})
            return event_id, app.test_client().post("/webhooks", data=body, headers=signed(body, clock)).status_code

        answers = list(pool.map(answered, posts))
        taken = {event_id for event_id, status in answers if status == 200}
        assert {status for event_id, status in answers if event_id.endswith("poison")} <= {500}
        assert {status for event_id, status in answers if not event_id.endswith("poison")} <= {200, 503}
        assert ledger.events.known([event_id for event_id, _ in answers]) >= taken
        assert set(found_new.values()) <= {1}
        hinted = Counter(event_id for event_id, _ in chain(queue.events, queue.large_events))
        assert hinted.keys() <= found_new.keys()
        assert set(hinted.values()) <= {1}
        ledger.close()
