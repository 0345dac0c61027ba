"""Parts for Stripe's Dashboard: files that a person takes, uploads once, and says what became of.

A part is made only when somebody asks for it. So the guards are asked, Stripe's totals read and the intent written
just before it leaves our hands; until then its records are planned. It holds what waits of many small submissions,
or the next rows of a large one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from workers.kernel.errors import Conflict, InputUnusable, Permanent, Transient
from workers.kernel.files import file_name
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import RecordSetRef
from workers.kernel.ledger.shared_files import Member
from workers.kernel.ledger.submissions import Submission
from workers.kernel.logs import get_logger
from workers.kernel.places import DASHBOARD
from workers.pipeline.context import Context, working_on
from workers.pipeline.record_sets import scan, workspace
from workers.pipeline.submit.last_look import LastLook
from workers.pipeline.submit.preflight import intend_what_may_go
from workers.pipeline.submit.send import open_submission
from workers.pipeline.submit.shared_file import as_stored, begin_together, template_rows
from workers.records.files.write import TemplateWriter, WrittenFile
from workers.records.schema import IDENTIFIER
from workers.targets import Rows
from workers.targets.dashboard import NOTHING_UPLOADED, PART_BYTES
from workers.targets.files import KEY, LOCATION, PUT_AGAIN

log = get_logger(__name__)

SHARED_BYTES: Final = PART_BYTES * 4 // 5
"""Bytes of text that share a part: it is not to be split, and quotes are not counted."""
MOST_CASES: Final = 200
"""Cases of which records are put into one part."""
_PART: Final = "part"


@dataclass(frozen=True)
class Part:
    """A part: its name, its bytes in the archive, and whose records of which submissions it holds."""

    name: str
    file: RecordSetRef
    members: Sequence[Member]
    records: pl.DataFrame


def hand_out(context: Context, account: str | None) -> Part:
    """Return the part that is begun and not told of yet; without one, begin the next.

    Raises InputUnusable where nothing waits, and Conflict while workers hold all that does.
    """
    begun = context.ledger.chunks.open_files(DASHBOARD, account)
    name = begun[0] if begun else _begin(context, account)
    while (part := _written(context, name)) is None:
        name = _begin(context, account)
    return part


def tell(context: Context, name: str, said: dict[str, Any]) -> None:
    """Write down what a person says became of a part; each of its cases goes on by that."""
    context.ledger.shared_files.finish(name, {KEY: name, PUT_AGAIN: False, **said})


def _begin(context: Context, account: str | None) -> str:
    """Commit that the next part is about to be handed out, and return its name."""
    _intend_all(context, account)
    busy = False
    for submission in context.ledger.submissions.intended(DASHBOARD, account):
        try:
            with working_on(context, submission.case_id) as held:
                name = _begun_with(context, held, submission)
        except Conflict:
            busy = True
            continue
        if name is not None:
            return name
    if busy:
        raise Conflict("workers hold the cases whose records wait for a part")
    raise InputUnusable("no corrected usage waits to be uploaded", where=account or "your own account")


def _intend_all(context: Context, account: str | None) -> None:
    """Ask the guards of all that is planned, and intend what they leave; what fails is left to its own case."""
    livemode = bool(context.settings.livemode)
    for case_id in context.ledger.queries.planned_cases(account, livemode=livemode, limit=MOST_CASES):
        try:
            with working_on(context, case_id) as held:
                if open_submission(held) is None:
                    intend_what_may_go(context, held)
        except (Conflict, Transient, Permanent) as error:
            log.warning("left_out_of_part", case_id=case_id, reason=str(error))


def _begun_with(context: Context, held: HeldCase, submission: Submission) -> str | None:
    """Begin a part with a submission: with others that wait, or with its next rows; None where all are taken."""
    begun = context.ledger.chunks.of(submission.id)
    if not begun:
        shared = begin_together(context, held, submission, SHARED_BYTES)
        if shared is not None:
            return shared
    first = sum(chunk.records or 0 for chunk in begun.values())
    if first >= submission.records:
        return None
    number = len(begun) + 1
    rows = Rows(first, _fitting(context, submission, first))
    withheld = as_stored(LastLook(context, held, submission)(rows))
    name = file_name(submission.id, number)
    context.ledger.chunks.intend(held.renewed, submission.id, number, first, rows.records, withheld, file=name)
    return name


def _fitting(context: Context, submission: Submission, first: int) -> int:
    """Return how many of a submission's rows from one on make up a part."""
    with workspace(context) as folder:
        return _files(template_rows(context, submission).slice(first), folder)[0].records


def _written(context: Context, name: str) -> Part | None:
    """Write a part that was begun; None where that ends it: nothing of it may go, or it is too large after all.

    The same chunks give the same bytes, so a part that broke off is written again as it was.
    """
    members = context.ledger.shared_files.members(name)
    chosen = [_left(scan(context, one.submission.ref).collect(), one) for one in members]
    rows = pl.concat([_left(template_rows(context, one.submission), one) for one in members], how="diagonal")
    if rows.is_empty():
        tell(context, name, {LOCATION: "nothing was left to upload", "records": 0})
        return None
    with workspace(context) as folder:
        files = _files(rows, folder)
        if len(files) > 1:
            too_large = f"nowhere: {name} does not fit in {PART_BYTES:,} bytes"
            tell(context, name, {LOCATION: too_large, "records": 0, "by": "metermend", NOTHING_UPLOADED: True})
            return None
        file = context.archive.keep(members[0].submission.case_id, _PART, files[0].path)
    return Part(name, file, members, pl.concat(chosen, how="diagonal"))


def _left(rows: pl.DataFrame, member: Member) -> pl.DataFrame:
    """Return what of a submission's rows stands in its part."""
    chunk = member.chunk
    return rows.slice(chunk.first or 0, chunk.records).filter(~pl.col(IDENTIFIER).is_in(list(chunk.withheld or {})))


def _files(rows: pl.DataFrame, folder: Path) -> Sequence[WrittenFile]:
    with TemplateWriter(folder / _PART, max_bytes=PART_BYTES) as writer:
        writer.append(rows)
        return writer.close()
