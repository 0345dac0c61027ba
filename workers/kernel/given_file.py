"""A failed-records file that a person gives: dropped into a folder, put on a page, or named at the terminal.

It is stored as an event of our own, so that it is worked on, retried, told and proven as any of Stripe's is. The
bytes lie in the archive; the event says where, what they are called and who gave them.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Final

from workers.kernel.codes import FAILED_RECORDS_FILE
from workers.kernel.errors import InputUnusable, Permanent
from workers.kernel.files import kept_name
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.events import EventState, NewEvent, Origin, StoredEvent

LABEL: Final = "failed-records"
"""What the file is called in the archive, once a case has it."""
FOLDER: Final = "given"
"""Where files lie in the archive that no case has yet, or that none could be made of."""
_ID: Final = "given_"
_KIND: Final = "file"
_LARGE_BYTES: Final = 5_000_000
"""A larger file has some 20,000 records, and is worked on apart from small events."""
_LONGEST: Final = 255


@dataclass(frozen=True)
class GivenFile:
    """What is known of a given file. `sha256` is of its bytes, `name` is what it is called where it came from.

    `import_set` is the one that it is of, and `imported_as` the name under which the usage was uploaded, where the
    giver says so. Raises InputUnusable where what he says is nothing that a page can show.
    """

    sha256: str
    name: str
    by: str
    account: str | None = None
    import_set: str | None = None
    imported_as: str | None = None

    def __post_init__(self) -> None:
        for said in filter(None, (self.name, self.by, self.account, self.import_set, self.imported_as)):
            if len(said) > _LONGEST or not said.isprintable():
                raise InputUnusable(
                    "too long, or no text that can be shown", where=ascii(said[:40]), mend="write it otherwise"
                )
        for named, start in ((self.import_set, "impset_"), (self.account, "acct_")):
            if named and not named.startswith(start):
                raise InputUnusable(f"the id begins with {start}", where=named, mend="copy it from the Dashboard")

    @property
    def event_id(self) -> str:
        """The same bytes, said to be of the same upload, are one event whoever gives them, and however often."""
        said = json.dumps([self.sha256, self.account, self.import_set, self.imported_as])
        return f"{_ID}{sha256(said.encode()).hexdigest()[:24]}"

    @property
    def kept_as(self) -> str:
        """The name of the file in the archive until a case has it."""
        return kept_name(FOLDER, self.event_id, Path(), self.sha256)

    def receipt(self, size: int, *, livemode: bool | None) -> NewEvent:
        """Return the event that stands for a file of `size` bytes. `livemode` is our key's, None without one."""
        body = {"id": self.event_id, "type": FAILED_RECORDS_FILE, "file": asdict(self)}
        return NewEvent(
            id=self.event_id,
            kind=_KIND,
            type=FAILED_RECORDS_FILE,
            livemode=bool(livemode),
            raw=json.dumps(body, ensure_ascii=False).encode(),
            account=self.account,
            object_id=self.import_set,
            large=size > _LARGE_BYTES,
            origin=Origin.GIVEN,
        )


def is_given(event_id: str) -> bool:
    """Whether an id is that of an event of ours that stands for a given file."""
    return event_id.startswith(_ID)


def event_of(kept_as: str) -> str:
    """Return which event a file stands for that lies under this name in the archive."""
    return PurePosixPath(kept_as).name.rpartition("-")[0]


def given_file(event: StoredEvent) -> GivenFile:
    """Return what an event of ours says of its file. Raises Permanent where retention has removed that."""
    if event.raw is None:
        raise Permanent("what was known of the file was removed after its time")
    return GivenFile(**json.loads(event.raw)["file"])


def give(
    ledger: Ledger, given: GivenFile, path: Path, put: Callable[[str, Path], None], *, livemode: bool | None
) -> NewEvent | None:
    """Store a file that lies at `path`; return its event, or None where it was given before and is seen to.

    One that could not be worked on is taken up again. `put` puts a file into the archive under a name. The event is
    due: who gives it may hint at it. Raises LedgerUnavailable, and as the archive does.
    """
    known = ledger.events.get(given.event_id)
    if known is not None and known.state is not EventState.FAILED:
        return None
    put(given.kept_as, path)
    receipt = given.receipt(path.stat().st_size, livemode=livemode)
    return receipt if ledger.events.record(receipt) or ledger.events.retry(receipt.id) else None
