"""Whatever the sender uploads: nothing that Stripe took is billed again, and what can be told is recovered.

If these fail, a customer pays twice, or usage is never invoiced.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.twin import Twin
from tests.integration.pipeline.loop import Loop, SteeredClock, usage
from tests.integration.pipeline.test_attacks_planning import assert_proved
from tests.integration.pipeline.test_locate import later
from workers.kernel.ledger import connect
from workers.kernel.ledger.journal import Bucket, Found
from workers.pipeline.locate.locate import LONGEST_PAUSE

KINDS = {
    "sound": ("cus_2", "1"),
    "padded": (" cus_1", "1"),
    "gone": ("cus_gone", "1"),
    "nobody": ("", "1"),
    "spaced": ("cus_1", " 1"),
    "both": (" cus_1", " 1"),
    "worded": ("cus_1", "one"),
}
MENDED = ("padded", "spaced", "both")


@dataclass(frozen=True)
class Upload:
    """One file: what its rows are, whether the sender keeps a copy, and how long before the next one it comes."""

    kinds: tuple[str, ...]
    named: bool
    kept: bool
    seconds: int


@dataclass(frozen=True)
class Day:
    """The files of a day, how many samples Stripe gives, which reports get lost, and whether each comes twice."""

    uploads: tuple[Upload, ...]
    samples: int
    lost: frozenset[int]
    twice: bool


uploads = st.builds(
    Upload,
    st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=12).map(tuple),
    st.booleans(),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([10, 40, 1200]),
)
days = st.builds(
    Day,
    st.lists(uploads, min_size=1, max_size=3).map(tuple),
    st.integers(0, 4),
    st.sampled_from([frozenset(), frozenset(), frozenset({0}), frozenset({1})]),
    st.booleans(),
)


@contextmanager
def a_loop(ledger: Path) -> Iterator[Loop]:
    with TemporaryDirectory() as name, Twin(bucket=f"file://{name}/bucket", poll_seconds=1e9) as twin:
        folder = Path(name)
        shutil.copy(ledger, folder / "ledger.db")
        (folder / "bucket").mkdir(exist_ok=True)
        (folder / "sources").mkdir()
        twin.add_meter("api_requests")
        twin.add_customers(["cus_1", "cus_2"])
        clock = SteeredClock()
        connected = connect(f"sqlite:///{folder / 'ledger.db'}", clock)
        yield Loop(folder, twin, connected, clock)
        connected.close()


def play(loop: Loop, day: Day) -> None:
    """Upload the files of a day, deliver what is not lost, and let Stripe import what is resubmitted."""
    loop.twin.configure(sample_cap=day.samples)
    told: set[str] = set()
    number = 0
    for index, upload in enumerate(day.uploads):
        rows: list[str] = []
        for kind in upload.kinds:
            customer, value = KINDS[kind]
            identifier = f"use-{index}-{len(rows)}" if upload.named else ""
            rows.append(f"{identifier},{{t}},api_requests,{customer},{value}")
        text = usage(*rows)
        for place in (loop.bucket, loop.sources) if upload.kept else (loop.bucket,):
            path = place / f"file-{index}.csv"
            path.write_text(text)
            os.utime(path, (loop.clock().timestamp(),) * 2)
        for _ in range(3):
            loop.twin.poll()
            loop.twin.publish()
            for event in [event for event in loop.twin.events() if event.id not in told]:
                told.add(event.id)
                is_report = "error_report" in str(event.delivered())
                lost = is_report and number in day.lost
                number += is_report
                for _ in range(0 if lost else 1 + day.twice):
                    loop.receive(event.delivered())
                    loop.work()
            later(loop, seconds=upload.seconds)
            loop.work()


def origin(identifier: str | None) -> str:
    return (identifier or "").partition("~r")[0]


@given(day=days)
@settings(suppress_health_check=list(HealthCheck))
def test_nothing_is_billed_twice_and_what_the_count_determines_is_recovered(
    migrated_sqlite: Path, day: Day
) -> None:
    with a_loop(migrated_sqlite) as loop:
        play(loop, day)
        later(loop, seconds=LONGEST_PAUSE.total_seconds() + 1)
        loop.work()
        accepted = list(loop.twin.accepted())
        named = Counter(origin(one.identifier) for one in accepted if origin(one.identifier).startswith("use-"))
        assert [name for name, times in named.items() if times > 1] == []
        nameless = sum(len(upload.kinds) for upload in day.uploads if not upload.named)
        assert sum(1 for one in accepted if not origin(one.identifier).startswith("use-")) <= nameless
        assert_proved(loop)
        if not day.lost and all(upload.kept for upload in day.uploads):
            assert loop.balance.found.get(Found.UNEXPLAINED, 0) == 0
            wanted = sum(kind in (*MENDED, "sound") for upload in day.uploads for kind in upload.kinds)
            assert len(accepted) == wanted, loop.balance[Bucket.QUARANTINED]
