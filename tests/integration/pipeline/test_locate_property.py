"""Whatever the sender uploads: nothing that Stripe took is billed again, and what can be told is recovered.

If these fail, a customer pays twice, or usage is never invoiced.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.twin import Twin
from tests.integration.pipeline.loop import Loop, SteeredClock, usage
from tests.integration.pipeline.test_attacks_planning import assert_proved
from tests.integration.pipeline.test_locate import later
from workers.kernel.errors import Permanent, Transient
from workers.kernel.ledger import connect
from workers.kernel.ledger.journal import Bucket, Found
from workers.pipeline.locate.locate import LONGEST_PAUSE

KINDS = {
    "sound": ("api_requests", "cus_2", "1"),
    "padded": ("api_requests", " cus_1", "1"),
    "gone": ("api_requests", "cus_gone", "1"),
    "nobody": ("api_requests", "", "1"),
    "spaced": ("api_requests", "cus_1", " 1"),
    "both": ("api_requests", " cus_1", " 1"),
    "worded": ("api_requests", "cus_1", "one"),
    "counted": ("logins", "cus_2", "1"),
    "padded in the other": ("logins", " cus_2", "1"),
    "deleted later": ("logins", "cus_brief", "1"),
    "made later": ("api_requests", "cus_late", "1"),
}
MENDED = ("padded", "spaced", "both", "padded in the other")
DATED = ("deleted later", "made later")


@dataclass(frozen=True)
class Upload:
    """One file: what its rows are, whether the sender keeps a copy, and how long before the next one it comes.

    `by_api` tells that its rows are sent one by one, and the file is the sender's own.
    """

    kinds: tuple[str, ...]
    named: bool
    kept: bool
    seconds: int
    by_api: bool = False


@dataclass(frozen=True)
class Day:
    """The files of a day, how many samples Stripe gives, which reports get lost, and whether each comes twice.

    `skew` is by how many seconds the company's clock is ahead of Stripe's. The first copy is `removed` once read.
    """

    uploads: tuple[Upload, ...]
    samples: int
    lost: frozenset[int]
    twice: bool
    skew: int
    removed: bool

    @property
    def is_told_whole(self) -> bool:
        """Whether the sender has all, and Stripe has told all: then the rules determine what was refused."""
        plain = all(upload.kept and not upload.by_api for upload in self.uploads)
        return plain and not (self.lost or self.removed or self.skew or set(DATED) & set(self.kinds))

    @property
    def kinds(self) -> list[str]:
        return [kind for upload in self.uploads for kind in upload.kinds]


uploads = st.builds(
    Upload,
    st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=12).map(tuple),
    st.booleans(),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([10, 40, 1200]),
    st.sampled_from([False, False, False, True]),
)
days = st.builds(
    Day,
    st.lists(uploads, min_size=1, max_size=3).map(tuple),
    st.sampled_from([0, 1, 2, 3, 4, 25]),
    st.sampled_from([frozenset(), frozenset(), frozenset({0}), frozenset({1})]),
    st.booleans(),
    st.sampled_from([0, 0, 0, -20, 20]),
    st.sampled_from([False, False, False, True]),
)


@contextmanager
def a_loop(ledger: Path) -> Iterator[Loop]:
    with TemporaryDirectory() as name, Twin(bucket=f"file://{name}/bucket", poll_seconds=1e9) as twin:
        folder = Path(name)
        shutil.copy(ledger, folder / "ledger.db")
        (folder / "bucket").mkdir(exist_ok=True)
        (folder / "sources").mkdir()
        twin.add_meter("api_requests")
        twin.add_meter("logins", formula="count")
        twin.add_customers(["cus_1", "cus_2", "cus_brief"])
        clock = SteeredClock()
        connected = connect(f"sqlite:///{folder / 'ledger.db'}", clock)
        yield Loop(folder, twin, connected, clock)
        connected.close()


@dataclass
class Post:
    """What brings Stripe's events: each report once, twice or never."""

    loop: Loop
    day: Day
    told: set[str] = field(default_factory=set)
    reports: int = 0

    def deliver(self) -> None:
        """Let Stripe import and publish, deliver what is not lost, and work on it."""
        self.loop.twin.poll()
        self.loop.twin.publish()
        for event in [event for event in self.loop.twin.events() if event.id not in self.told]:
            self.told.add(event.id)
            is_report = "error_report" in str(event.delivered())
            lost = is_report and self.reports in self.day.lost
            self.reports += is_report
            for _ in range(0 if lost else 1 + self.day.twice):
                self.loop.receive(event.delivered())
                self.loop.work()


def play(loop: Loop, day: Day) -> None:
    """Upload the files of a day, and let Stripe import them and what is resubmitted."""
    loop.twin.configure(sample_cap=day.samples)
    loop.clock.turn(seconds=day.skew)
    post = Post(loop, day)
    for index, upload in enumerate(day.uploads):
        send(loop, index, upload)
        for _ in range(3):
            post.deliver()
            later(loop, seconds=upload.seconds)
            loop.work()
        if index == 0:
            happen_between(loop, day)
    for pause in (LONGEST_PAUSE + timedelta(seconds=1), timedelta(hours=2), timedelta(hours=5)):
        later(loop, seconds=pause.total_seconds())
        loop.work()
        post.deliver()


def send(loop: Loop, index: int, upload: Upload) -> None:
    """Upload one file, or send its rows by the API, and keep the sender's own copy."""
    rows: list[str] = []
    for kind in upload.kinds:
        name, customer, value = KINDS[kind]
        identifier = f"use-{index}-{len(rows)}" if upload.named else ""
        rows.append(f"{identifier},{{t}},{name},{customer},{value}")
        if upload.by_api:
            payload = {"stripe_customer_id": customer, "value": value}
            told = {"event_name": name, "payload": payload, "timestamp": int(loop.clock().timestamp()) - 3600}
            event = {**told, "identifier": identifier} if identifier else told
            with suppress(Permanent, Transient):
                loop.context.stripe.create_meter_event(event, f"key-{index}-{len(rows)}", None)
    text = usage(*rows)
    for place in (*([] if upload.by_api else [loop.bucket]), *([loop.sources] if upload.kept else [])):
        path = place / f"file-{index}.csv"
        path.write_text(text)
        os.utime(path, (loop.clock().timestamp(),) * 2)


def happen_between(loop: Loop, day: Day) -> None:
    """Let customers come and go, and a file be tidied away, after the first upload."""
    loop.lose_customer("cus_brief")
    loop.twin.add_customers(["cus_late"])
    if day.removed:
        (loop.sources / "file-0.csv").unlink(missing_ok=True)


def origin(identifier: str | None) -> str:
    return (identifier or "").partition("~r")[0]


@given(day=days)
# A day is long: half as many as of other properties.
@settings(suppress_health_check=list(HealthCheck), max_examples=settings().max_examples // 2)
def test_nothing_is_billed_twice_and_what_the_count_determines_is_recovered(
    migrated_sqlite: Path, day: Day
) -> None:
    with a_loop(migrated_sqlite) as loop:
        play(loop, day)
        accepted = list(loop.twin.accepted())
        named = Counter(origin(one.identifier) for one in accepted if origin(one.identifier).startswith("use-"))
        assert [name for name, times in named.items() if times > 1] == []
        nameless = sum(len(upload.kinds) for upload in day.uploads if not upload.named)
        assert sum(1 for one in accepted if not origin(one.identifier).startswith("use-")) <= nameless
        assert_proved(loop)
        if day.is_told_whole:
            assert loop.balance.found.get(Found.UNEXPLAINED, 0) == 0
            wanted = sum(kind in (*MENDED, "sound", "counted") for kind in day.kinds)
            assert len(accepted) == wanted, loop.balance[Bucket.QUARANTINED]
