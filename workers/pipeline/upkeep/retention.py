"""Retention: what is kept no longer than the settings say.

- Event bodies: of events that are done or ignored and behind no case that is unsettled. Their rows stay, and a
  checkpoint says up to when bodies may be gone, so that `prove` knows an end from a loss.
- Record sets and evidence: all files of a case that has been settled for that long, and with them the names of the
  customers that it is found by. Its entries stay, and an entry says that the files are gone.
- Prices and billing periods that were read longer ago than usage can be billed.
- What SQLite's file still holds of a customer who was erased, where it could not be written anew at once.

The entry comes first and the files go after it; a checkpoint names the case meanwhile, so that a crash between the
two is mended at the next turn. Nothing is removed of a case that has records in flight, deferred or quarantined.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

from workers.kernel.clock import to_text
from workers.kernel.errors import Conflict
from workers.kernel.ledger.appraisal import LONGEST
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.journal import EntryKind, Movement
from workers.kernel.ledger.ledger import BODIES_REMOVED, REWRITE_DUE
from workers.kernel.logs import get_logger
from workers.pipeline.context import Context

log = get_logger(__name__)

BATCH: Final = 500
_REMOVING: Final = "retention:removing"


@dataclass(frozen=True)
class Removed:
    """How many event bodies and how many cases' files one turn removed."""

    bodies: int
    cases: int


def retain(context: Context) -> Removed:
    """Remove what is older than the settings keep it. Raises Transient while the archive is away."""
    settings = context.settings
    context.ledger.appraisals.forget(context.clock() - LONGEST)
    bodies = _remove_bodies(context, settings.retention_raw_days) if settings.retention_raw_days else 0
    cases = (
        _remove_files(context, settings.retention_record_sets_days) if settings.retention_record_sets_days else 0
    )
    rewrite_if_due(context)
    return Removed(bodies, cases)


def rewrite_if_due(context: Context) -> None:
    """Write the ledger's file anew where a customer was erased from it. Raises LedgerUnavailable."""
    ledger = context.ledger
    if ledger.checkpoints.get(REWRITE_DUE) and ledger.database.rewrite():
        ledger.checkpoints.save(REWRITE_DUE, value=False)


def _remove_bodies(context: Context, days: int) -> int:
    before = context.clock() - timedelta(days=days)
    said = context.ledger.checkpoints.get(BODIES_REMOVED)
    context.ledger.checkpoints.save(BODIES_REMOVED, max(to_text(before), said or ""))
    removed = 0
    while count := context.ledger.events.forget_bodies(before, BATCH):
        removed += count
    return removed


def _remove_files(context: Context, days: int) -> int:
    begun = context.ledger.checkpoints.get(_REMOVING)
    if begun:
        _delete(context, begun)
    removed = 0
    before = context.clock() - timedelta(days=days)
    for case_id in context.ledger.queries.settled_since(before):
        try:
            removed += _remove(context, case_id)
        except Conflict as error:
            log.info("retention_waits", case_id=case_id, reason=str(error))
    return removed


def _remove(context: Context, case_id: str) -> bool:
    with context.ledger.cases.hold(case_id, context.owner, context.lease) as held:
        if held.case.state is not CaseState.SETTLED:
            return False
        files = context.archive.names(case_id)
        context.ledger.checkpoints.save(_REMOVING, case_id)
        gone = Movement(EntryKind.REMOVED, None, None, 0, Decimal(0), actor="retention", detail={"files": files})
        with held.transaction() as transaction:
            transaction.move(gone)
            transaction.forget_records()
        _delete(context, case_id)
    return True


def _delete(context: Context, case_id: str) -> None:
    """Delete the files whose case's journal says that they are gone; of one whose entry was never made, nothing."""
    if any(entry.kind == EntryKind.REMOVED for entry in context.ledger.queries.entries(case_id)):
        for name in context.archive.names(case_id):
            context.archive.delete(name)
    context.ledger.checkpoints.save(_REMOVING, None)
