"""Folders into which people drop failed-records files: each is looked through by the clock, and stays as it is.

What was taken from a folder is remembered by key and etag, so that no file is read twice, and none has to be
moved: who may read a bucket may not write to it. A file is taken once nobody has written to it for a while: half a
list would open a case of its own.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from workers.alerts import NextStep
from workers.kernel.clock import is_within
from workers.kernel.errors import InputUnusable, Permanent, Transient
from workers.kernel.files import sha256_of
from workers.kernel.given_file import GivenFile, give
from workers.kernel.logs import get_logger
from workers.kernel.storage import Store, StoredObject
from workers.pipeline.context import Context
from workers.pipeline.notify import trouble
from workers.pipeline.record_sets import workspace

log = get_logger(__name__)

SETTLED: Final = timedelta(minutes=1)
"""How long nobody must have written to a file before it is taken for whole."""


def take_from_folder(context: Context, account: str | None, folder: Store) -> int:
    """Take in what is new in a folder; return how many files that were. One that cannot be read is told once.

    Raises Transient, Permanent and SettingsUnusable where the folder or the archive cannot be reached; that the
    folder is not to be read until somebody mends that is told once.
    """
    name = f"given:{account or ''}:{folder.url}"
    files = _listed(context, folder, f"{name}:away")
    before: Mapping[str, str] = context.ledger.checkpoints.get(name) or {}
    seen, new = {}, 0
    for file in files:
        if file.name.startswith(".") or not file.size or is_within(file.last_modified, SETTLED, context.clock()):
            continue
        if before.get(file.key) != file.etag:
            new += _take(context, account, folder, file)
        seen[file.key] = file.etag
    if seen != before:
        context.ledger.checkpoints.save(name, seen)
    return new


def _listed(context: Context, folder: Store, told: str) -> Sequence[StoredObject]:
    """Return what lies in the folder. `told` names where it is kept that people know that it cannot be read."""
    known = context.ledger.checkpoints.get(told)
    try:
        files = list(folder.list())
    except (Permanent, InputUnusable) as error:
        if not known:
            step = NextStep("Let metermend read it again, or set FAILED_RECORDS_FOLDER anew.", "metermend doctor")
            trouble(
                context, folder.url[:255], "the folder of failed-records files cannot be read", str(error), step
            )
            context.ledger.checkpoints.save(told, value=True)
        raise
    if known:
        context.ledger.checkpoints.save(told, None)
    return files


def _take(context: Context, account: str | None, folder: Store, file: StoredObject) -> bool:
    """Store a file as an event; tell a person where it cannot be one. What the archive raises is no fault of it."""
    with workspace(context) as place:
        path = place / "given"
        try:
            folder.get_to_file(file.key, path, context.settings.failed_records_max_bytes)
            given = GivenFile(sha256_of(path), file.name, f"the folder {folder.url}"[:255], account)
        except (InputUnusable, Permanent) as error:
            where = folder.location(file.key)
            step = NextStep("Mend the file, or take it out of the folder.", "metermend take-in FILE")
            trouble(context, where[:255], "a failed-records file could not be taken in", f"{where}: {error}", step)
            return False
        return _stored(context, given, path)


def _stored(context: Context, given: GivenFile, path: Path) -> bool:
    event = give(context.ledger, given, path, context.archive.put, livemode=context.settings.livemode)
    if event is None:
        return False
    log.info("file_given", event_id=event.id, name=given.name, account=given.account)
    try:
        context.queue.enqueue_new([event.id], large=event.large)
    except Transient as error:  # the event is there: the sweeper hints at it later
        log.warning("enqueue_failed", error=str(error))
    return True
