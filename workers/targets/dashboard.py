"""Submitting by hand: a person uploads parts of a submission in Stripe's Dashboard, and says what became of them.

The Dashboard takes CSV of up to 5 MB, with times in epoch seconds (Stripe docs, "Record usage in bulk"). Nothing is
sent from here. A part is begun when it is handed out (`pipeline.submit.parts`), and ends by a person's word.
"""

from typing import Final

import polars as pl

from workers.kernel.errors import AwaitsPerson
from workers.kernel.places import DASHBOARD
from workers.kernel.reasons import NOT_UPLOADED
from workers.records.schema import IDENTIFIER
from workers.targets.files import LOCATION
from workers.targets.target import Chunk, Outgoing, Progress, Sent, Withheld

PART_BYTES: Final = 5_000_000
"""The largest file that the Dashboard takes."""
NOTHING_UPLOADED: Final = "nothing_uploaded"
"""In a chunk's result: a person says that Stripe has taken nothing of its part in."""
_NOT_UPLOADED: Final = "Its part was handed out, and {} says that nothing of it was taken in."


class DashboardTarget:
    """What a person has said of the parts of a submission."""

    name = DASHBOARD
    at_once = False

    def keep_pace(self) -> None:
        """Raise AwaitsPerson: a submission begins when somebody asks for a part."""
        raise AwaitsPerson("it waits until somebody takes the next part")

    def lies_there(self, name: str) -> bool:
        """Whether Stripe may come for a file by itself: it never does."""
        del name
        return False

    def send(self, outgoing: Outgoing, progress: Progress) -> Sent:
        """Return what became of all parts. Raises AwaitsPerson while somebody has yet to take, or tell of, one."""
        parts = list(progress.chunks().values())
        told = [part for part in parts if part.result is not None and part.rows is not None]
        if sum(part.rows.records for part in told if part.rows) < outgoing.records:
            raise AwaitsPerson("somebody has yet to upload a part of it, or to say what became of it")
        withheld = [one for part in told for one in (*part.withheld, *_not_uploaded(outgoing, part))]
        places = dict.fromkeys(part.result[LOCATION] for part in told if part.result)
        return Sent(", ".join(places), outgoing.records - len(withheld), withheld=tuple(withheld))


def _not_uploaded(outgoing: Outgoing, part: Chunk) -> list[Withheld]:
    """Return the records of a part of which Stripe has nothing: they are as they were before it was made."""
    if not (part.result and part.result.get(NOTHING_UPLOADED)) or part.rows is None:
        return []
    chosen = pl.scan_parquet(outgoing.record_set).slice(part.rows.first, part.rows.records)
    left_out = {one.identifier for one in part.withheld}
    advice = _NOT_UPLOADED.format(part.result["by"])
    names = chosen.select(IDENTIFIER).collect()[IDENTIFIER]
    return [Withheld(name, NOT_UPLOADED, advice) for name in names if name not in left_out]
