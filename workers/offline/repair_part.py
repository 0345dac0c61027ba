"""Planning one part of a file, or a few in a row: from records to outcomes, without knowledge of the other parts.

Sound records become text while they are read, and are not looked at again. The suspect ones of a run of parts are
treated together, and those that may be sent are put back between the sound ones, each in its place.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from workers.kernel.codes import Outcome
from workers.offline.failed_rows import hold_rows
from workers.offline.own_files import STILL_HELD, as_it_came, hold_unmended, still_faulty
from workers.offline.revisions import RefusedFor, revised, taken_revision
from workers.offline.summary import OutcomeCounts
from workers.offline.survey import Survey
from workers.offline.windows import (
    NONE_WAITING,
    MeterWindows,
    WaitingWindows,
    hold_windows,
    waiting_in,
    with_window,
)
from workers.records.catalog import VALUE_TEXT
from workers.records.files.layout import Part
from workers.records.files.stripe_formats import Template, template_columns
from workers.records.files.usage_file import Lines
from workers.records.identifiers import next_revisions, with_identifiers
from workers.records.notation import with_evidence
from workers.records.quick_check import SOUND, SOUND_VALUE
from workers.records.schema import EVIDENCE, IDENTIFIER, OUTCOME, ROW, with_columns_of
from workers.remedies.apply import PLACE
from workers.remedies.codes import stripes_codes
from workers.remedies.engine import sift, treat_suspects
from workers.remedies.outcome import ALL_FAULTS, all_faults
from workers.remedies.remedy import RepairContext
from workers.reports.failed_records import annotate, original_row


@dataclass(frozen=True)
class Output:
    """What becomes of the records that are to be sent: text of `columns`, in a template's shape.

    `template` null: no text is made, since the outcome alone is wanted. To the `waiting` windows nothing is sent.
    """

    columns: Sequence[str]
    template: Template | None = None
    new_identifiers: bool = False
    refused_for: RefusedFor | None = None
    waiting: WaitingWindows = NONE_WAITING


@dataclass(frozen=True)
class Sifted:
    """A part's records before treatment: the `valid` ones, which are sound, as `text`, and the `suspect` ones.

    Where a sound record is sent in the very line in which it came, `text` are all the part's lines, and are read
    again when they are wanted.
    `suspect` carry `PLACE`, the record's number in the file but for those that tell one again, and stand in that
    order; `first_place` is that of the part's first record.
    """

    valid: int
    quantity: Decimal
    suspect: pl.DataFrame
    text: bytes | Lines
    first_place: int

    @property
    def records(self) -> int:
        """All records."""
        return self.valid + self.suspect.height

    @property
    def held(self) -> int:
        """Bytes of text that wait in memory."""
        return 0 if isinstance(self.text, Lines) else len(self.text)

    def with_suspects(self, template: Template, repaired: Sequence[bytes]) -> bytes:
        """Return the text with each suspect record in its place as it was repaired; nothing where none is sent."""
        places = self.suspect[PLACE].cast(pl.Int64) - self.first_place
        if isinstance(self.text, Lines):
            return template.woven(self.text.read(), places, repaired, over=True)
        return template.woven(self.text, places - pl.int_range(len(places), eager=True), repaired)


@dataclass(frozen=True)
class RunPlan:
    """A planned run of parts, in the file's order.

    `corrected` is each part's text of the records that are to be sent, and their number; it is made once, when it
    is asked for. `treated` holds every record that was not sound, with `PLAN_COLUMNS`: also the repaired ones.
    """

    outcomes: OutcomeCounts
    corrected: Iterator[tuple[bytes, int]]
    treated: pl.DataFrame


def sift_part(surveyed: Survey, part: Part, context: RepairContext, output: Output) -> Sifted:
    """Read one part, tell the sound records from those to be treated, and make text of the sound ones."""
    columns, evidence, first = surveyed.facts.columns, surveyed.facts.evidence, part.first_row
    if surveyed.own is not None and surveyed.own.told:
        told = surveyed.own.annotate(surveyed.facts.file.read(part, [*columns, *surveyed.own.told]), columns)
        records = sift(with_evidence(told.lazy(), evidence), context, first_place=first)
        free = _free(records.with_columns(pl.col(SOUND) & pl.col(STILL_HELD).is_null()), output.waiting)
        return _sifted(free, first, surveyed, output)
    if surveyed.failure is not None:
        rows = annotate(surveyed.facts.file.read(part, columns), surveyed.failure, stripes_codes())
        told = surveyed.rows.records_of(rows, surveyed.failure)
        records = sift(with_evidence(told.lazy(), evidence), context, resubmit_valid=False, first_place=first)
        return _sifted(records, first, surveyed, output)

    lines = _lines(surveyed, part, output)

    def work(read: pl.LazyFrame) -> Sifted:
        records = _free(sift(with_evidence(read, evidence), context, first_place=first), output.waiting)
        if lines is not None:
            records = records.with_columns(pl.col(SOUND) & ~pl.col(ROW).is_in(lines.quoted.implode()))
        return _sifted(records, first, surveyed, output, lines)

    return surveyed.facts.file.work_through(part, columns, work)


def _free(sifted: pl.LazyFrame, waiting: WaitingWindows) -> pl.LazyFrame:
    """Let no record count as sound whose window is waiting."""
    if not waiting:
        return sifted
    keyed = with_columns_of(sifted, waiting.windows.columns)
    return keyed.with_columns(pl.col(SOUND) & ~waiting.holds().fill_null(value=False))


def _lines(surveyed: Survey, part: Part, output: Output) -> Lines | None:
    """Return the part's lines where sound records are sent in the very lines in which they came."""
    columns, template = template_columns(output.columns), output.template
    cells = zip(_cells(surveyed, output), columns, strict=True)
    if template is None or not template.streams or not all(cell.meta.eq(pl.col(name)) for cell, name in cells):
        return None
    return surveyed.facts.file.lines(part, columns)


def _sifted(
    records: pl.LazyFrame, first_place: int, surveyed: Survey, output: Output, lines: Lines | None = None
) -> Sifted:
    exact = pl.when(SOUND).then(VALUE_TEXT).cast(SOUND_VALUE)
    wanted = [
        records.filter(~pl.col(SOUND)).drop(SOUND, VALUE_TEXT).drop(EVIDENCE, strict=False),
        records.select(pl.col(SOUND).sum(), exact.sum()),
    ]
    text: bytes | Lines
    if output.template is None or lines is not None:
        text, (suspect, sums) = lines or b"", pl.collect_all(wanted, engine="streaming")
    else:
        sound = records.filter(SOUND).select(_cells(surveyed, output))
        text, (suspect, sums) = output.template.collect(sound, wanted)
    valid, quantity = sums.row(0)
    # Texts of their own: a filtered one keeps all that was read with it in memory.
    copied = suspect.with_columns(pl.col(pl.String) + "")
    return Sifted(valid, Decimal(quantity or 0), copied, text, first_place)


def plan_run(surveyed: Survey, run: Sequence[Sifted], context: RepairContext, output: Output) -> RunPlan:
    """Plan consecutive sifted parts of a file: their suspects are treated together."""
    outcomes = sum((OutcomeCounts.of_valid(part.valid, part.quantity) for part in run), OutcomeCounts())

    def hold(decided: pl.DataFrame) -> pl.DataFrame:
        return hold_windows(hold_unmended(hold_rows(decided, surveyed.rows.held)), output.waiting)

    decided = with_columns_of(treat_suspects(_suspects(surveyed, run), context, hold), output.columns)
    if not output.new_identifiers:
        decided = revised(decided, output.refused_for, surveyed.taken)
    faults = pl.coalesce(still_faulty(decided), all_faults()).alias(ALL_FAULTS)
    named = decided.with_columns(_identifier(surveyed, output), faults)
    treated = named.with_columns(as_it_came(output.columns))
    return RunPlan(outcomes + OutcomeCounts.of(treated), _corrected(run, treated, output), treated)


def waiting_in_run(
    surveyed: Survey, context: RepairContext, windows: MeterWindows, run: Sequence[Sifted]
) -> pl.Series:
    """Return the windows, as `waiting_in` does, in which a value of these parts waits."""
    suspects = _suspects(surveyed, run).filter(windows.may_concern())

    def hold(decided: pl.DataFrame) -> pl.DataFrame:
        return with_window(hold_unmended(hold_rows(decided, surveyed.rows.held)), windows)

    return waiting_in(treat_suspects(suspects, context, hold), surveyed.differences.rows)


def _suspects(surveyed: Survey, run: Sequence[Sifted]) -> pl.DataFrame:
    return with_evidence(pl.concat([part.suspect for part in run]), surveyed.facts.evidence)


def _cells(surveyed: Survey, output: Output) -> list[pl.Expr]:
    """Return what a sound record has in each of the output's columns."""
    given = {name: pl.col(name) for name in surveyed.facts.columns} | {IDENTIFIER: _identifier(surveyed, output)}
    return [given.get(name, pl.lit(None, pl.String).alias(name)) for name in template_columns(output.columns)]


def _identifier(surveyed: Survey, output: Output) -> pl.Expr:
    """Return the identifier of each record: the sender's, one made from file and row, or the next revision's."""
    facts, identifier = surveyed.facts, pl.col(IDENTIFIER)
    if facts.missing_identifiers or facts.unreadable:
        identifier = with_identifiers(surveyed.identity, _row_of_origin(surveyed)).alias(IDENTIFIER)
    following = next_revisions(identifier, taken_revision(surveyed.taken)).alias(IDENTIFIER)
    return following if output.new_identifiers else identifier


def _row_of_origin(surveyed: Survey) -> pl.Expr | None:
    """Return what names the row of each record: the original's number where a failed-records file gives it.

    Its own row stands in for one that is missing, marked so that it is not taken for an original's.
    """
    if surveyed.failure is None or surveyed.failure.row is None:
        return None
    return pl.coalesce(original_row(surveyed.failure), pl.format("at-{}", ROW))


def _corrected(run: Sequence[Sifted], treated: pl.DataFrame, output: Output) -> Iterator[tuple[bytes, int]]:
    """Put the treated records that are to be sent between the sound ones, part by part."""
    if output.template is None:
        return
    is_sent = treated[OUTCOME].is_in([Outcome.VALID, Outcome.REPAIRED])
    sent = treated.filter(is_sent).select(template_columns(output.columns))
    texts = iter(output.template.records(output.template.rows(sent)) if sent.height else [])
    first = 0
    for part in run:
        sends = is_sent[first : first + part.suspect.height].to_list()
        first += part.suspect.height
        repaired = [next(texts) if one else b"" for one in sends]
        yield part.with_suspects(output.template, repaired), part.valid + sum(sends)
