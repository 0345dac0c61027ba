"""What a person edits on a page: a cell, or a CSV that he puts there. A worker reads it, and makes a `Fix` of it.

The web knows no records: it keeps what was given, and what it means is told with the act's effect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workers.kernel.ledger.acts import Act
from workers.kernel.ledger.journal import RecordSetRef
from workers.pipeline.context import Context
from workers.pipeline.desk.edited_csv import Edits, edit_of, read_edits
from workers.pipeline.desk.order import Effect
from workers.pipeline.desk.record_orders import Fix, keep_edits
from workers.pipeline.desk.waiting import require_case


@dataclass(frozen=True)
class _Edit:
    """Edits that are read from what was given on a page, once; the effect's `basis` names those that were shown."""

    case_id: str

    def effect(self, context: Context) -> Effect:
        """Return before and after by field. Raises InputUnusable where nothing was edited, and as `Fix` does."""
        require_case(context, self.case_id)
        fix = Fix(**keep_edits(context, self.case_id, self._edits(context)))
        return replace(fix.effect(context), basis=" ".join(fix.edits))

    def carry_out(self, context: Context, act: Act) -> Mapping[str, Any]:
        """Take the records, as edited, back to pending."""
        return self._shown(act).carry_out(context, act)

    def require_open(self, context: Context, act: Act) -> None:
        """Raise InputUnusable where a record was sent since."""
        self._shown(act).require_open(context, act)

    def take_back(self, context: Context, act: Act, by: str) -> Mapping[str, Any]:
        """Let the records wait as they were before they were edited."""
        return self._shown(act).take_back(context, act, by)

    def _shown(self, act: Act) -> Fix:
        return Fix(self.case_id, (act.effect or {})["basis"].split())

    def _edits(self, context: Context) -> Edits:
        raise NotImplementedError


@dataclass(frozen=True)
class SetValue(_Edit):
    """Put a text into one field of a waiting record, which is named by its key, such as `r17`."""

    record: str
    field: str
    value: str

    def _edits(self, context: Context) -> Edits:
        return edit_of(context, self.case_id, self.record, self.field, self.value)


@dataclass(frozen=True)
class FixByFile(_Edit):
    """Take over what was edited in a CSV that lies in the archive: `file` is its name and sha256."""

    file: Sequence[str]

    def _edits(self, context: Context) -> Edits:
        return read_edits(context, self.case_id, context.archive.fetch(RecordSetRef(*self.file)))
