"""Planning whole files: survey, then part by part from records to outcomes, then the files that hold them.

A part is planned without knowledge of the others, so parts can be planned side by side, in other processes too, and
the result is the same for any cut. Memory holds a few parts, never a file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import polars as pl

from workers.kernel.clock import to_text
from workers.kernel.codes import MALFORMED_RECORD, Outcome
from workers.offline.holds import hold_rows, hold_windows
from workers.offline.ordered_map import THREADS, in_order
from workers.offline.output_folder import PlanFolder, replaced_folder, write_plan
from workers.offline.own_files import as_it_came, hold_unmended, may_be_sound, still_faulty
from workers.offline.revisions import RefusedFor, revised
from workers.offline.summary import OutcomeCounts
from workers.offline.survey import Kind, Survey, survey
from workers.offline.windows import NONE_WAITING, WaitingWindows, Windows, waiting_in, with_window
from workers.records.catalog import VALUE_TEXT, Catalog
from workers.records.files.gapped_text import GappedText, RecordText
from workers.records.files.layout import Part, ReadOptions
from workers.records.files.reading import Reading
from workers.records.files.stripe_formats import Template, template_columns
from workers.records.files.write import WrittenFile
from workers.records.identifiers import next_revisions, with_identifiers
from workers.records.notation import with_evidence
from workers.records.quick_check import SOUND, SOUND_VALUE
from workers.records.schema import EVIDENCE, IDENTIFIER, OUTCOME, ROW, payload_column, with_columns_of
from workers.remedies.codes import stripes_codes
from workers.remedies.engine import circumstances, sift, treat_suspects
from workers.remedies.outcome import ALL_FAULTS, all_faults
from workers.remedies.remedy import RepairContext
from workers.remedies.rules import Rules
from workers.reports.failed_records import annotate, original_row

PART_BYTES: Final = 8 << 20
"""Size of a planned part, larger than the reader's: what is done for each costs as much however small it is."""
RUN_SUSPECTS: Final = 30_000
"""Suspect records that are enough for a run of parts: treatment costs some 0.1 s however few there are."""
RUN_TEXT: Final = 32 << 20
"""Bytes of sound records that may wait in memory for a run to have its suspects together."""
RUNS: Final = 2
"""Runs of a file at least, if it has the parts, so that one is treated while the next is read."""


@dataclass(frozen=True)
class PlanOptions:
    """How files are read, cut and written. `kind` null: found out. `new_identifiers`: the next revision's.

    `refused_for` null: a record was refused for its data where Stripe gave it a code. `for_dashboard`: times may be
    written as the Dashboard takes them.
    """

    output: str = "csv"
    new_identifiers: bool = False
    refused_for: RefusedFor | None = None
    kind: Kind | None = None
    for_dashboard: bool = False
    reading: ReadOptions = field(default_factory=ReadOptions)
    part_bytes: int = PART_BYTES
    threads: int = THREADS


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
    """A part's records before treatment: the sound ones, which are counted and written, and the `suspect` ones.

    `suspect` carry `PLACE` and stand in that order; each is a gap in `text`, which is null where none is wanted.
    """

    valid: int
    quantity: Decimal
    suspect: pl.DataFrame
    text: GappedText | None

    @property
    def records(self) -> int:
        """All records."""
        return self.valid + self.suspect.height


@dataclass(frozen=True)
class RunPlan:
    """A planned run of parts, in the file's order.

    `corrected` are each part's records that are to be sent; their text is put together when it is asked for, once.
    `treated` holds every record that was not sound, with `PLAN_COLUMNS`: also the repaired ones.
    """

    outcomes: OutcomeCounts
    corrected: Iterable[RecordText]
    treated: pl.DataFrame


@dataclass(frozen=True)
class PlanSummary:
    """What became of the files: `surveys`, and `by_file` their outcomes, in the order given; `written` by kind."""

    outcomes: OutcomeCounts
    surveys: Sequence[Survey]
    by_file: Sequence[OutcomeCounts]
    written: Mapping[str, Sequence[WrittenFile]]

    @property
    def refused_for_form(self) -> int:
        """Repaired records to which Stripe gave no code, in failed-records files that have identifiers."""
        files = zip(self.surveys, self.by_file, strict=True)
        by_code = [
            of.by_code for surveyed, of in files if surveyed.failure is not None and surveyed.has_identifiers
        ]
        return sum(counts.get(MALFORMED_RECORD, {}).get(Outcome.REPAIRED, 0) for counts in by_code)

    @property
    def neutralised(self) -> int:
        """Cells of the files for people that a spreadsheet would have run: they begin with an apostrophe."""
        return sum(file.neutralised for files in self.written.values() for file in files)

    def as_json(self) -> dict[str, Any]:
        """Return the document that `repair --json` prints: counts, quantities, and the files' names and records."""
        files = {
            kind: [{"name": file.path.name, "records": file.records} for file in files]
            for kind, files in self.written.items()
        }
        return {**self.outcomes.as_json(), "neutralised_cells": self.neutralised, "files": files}

    def as_plan(self) -> dict[str, Any]:
        """Return the document of plan.json: `as_json`, with what was read and what each remedy changed."""
        inputs = [
            {
                "name": surveyed.name,
                "kind": "usage" if surveyed.failure is None else "failed-records",
                "records": outcomes.total,
                "faults": {slug: found.records for slug, found in outcomes.faults.items()},
                "findings": [finding.text for finding in surveyed.findings],
                "differences": [difference.as_json() for difference in surveyed.differences.shown],
            }
            for surveyed, outcomes in zip(self.surveys, self.by_file, strict=True)
        ]
        return {**self.as_json(), "changes": dict(self.outcomes.remedies), "inputs": inputs}


class Sink(Protocol):
    """Takes the planned runs of files, in order."""

    @property
    def template(self) -> Template | None:
        """The shape in which it wants `corrected`; null where it has no use for them."""
        ...

    def append(self, corrected: Iterable[RecordText], treated: pl.DataFrame) -> None:
        """Take in one run."""

    def close(self) -> Mapping[str, Sequence[WrittenFile]]:
        """Finish, and return what was written, by kind."""
        ...


OnPart = Callable[[int, int], None]
"""Called after each part with the records that are done and those of all files."""


def plan_file(
    paths: Path | Sequence[Path],
    *,
    catalog: Catalog,
    rules: Rules,
    now: datetime,
    out: Path | None = None,
    options: PlanOptions | None = None,
    on_part: OnPart = lambda _done, _of: None,
) -> PlanSummary:
    """Plan usage or failed-records files, and write the outcome into the folder `out`, if one is given.

    `out` appears whole or not at all. `now` is aware. Raises FileUnusable, InputUnusable.
    """
    options = options or PlanOptions()
    paths = [paths] if isinstance(paths, Path) else list(paths)
    surveys = survey_files(paths, catalog, options)
    if out is None:
        return plan_surveyed(surveys, catalog, rules, now, options, on_part=on_part)
    with replaced_folder(out, inputs=paths) as folder:
        columns = output_columns(surveys, catalog, rules)
        with PlanFolder(folder, columns, _headers(surveys), options.output) as writers:
            summary = plan_surveyed(surveys, catalog, rules, now, options, writers, on_part)
        write_plan(folder, {"now": to_text(now), **summary.as_plan()})
    return summary


def survey_files(paths: Sequence[Path], catalog: Catalog, options: PlanOptions) -> list[Survey]:
    """Survey the files as the options say."""
    revising = options.new_identifiers or options.refused_for == "data"
    return survey(
        paths,
        catalog,
        kind=options.kind,
        reading=options.reading,
        part_bytes=options.part_bytes,
        revising=revising,
    )


def sift_part(surveyed: Survey, part: Part, context: RepairContext, output: Output) -> Sifted:
    """Read one part, tell the sound records from those to be treated, and write the sound ones."""
    columns, evidence = surveyed.facts.columns, surveyed.facts.evidence
    if surveyed.own is not None and surveyed.own.told:
        told = surveyed.own.annotate(surveyed.file.read(part, [*columns, *surveyed.own.told]), columns)
        records = sift(with_evidence(told.lazy(), evidence), context, first_place=part.first_row)
        free = _free(records.with_columns(pl.col(SOUND) & may_be_sound()), output.waiting)
        return _sifted(Reading(free), surveyed, output)
    if surveyed.failure is not None:
        rows = annotate(surveyed.file.read(part, columns), surveyed.failure, stripes_codes())
        told = surveyed.rows.records_of(rows, surveyed.failure)
        records = sift(
            with_evidence(told.lazy(), evidence), context, resubmit_valid=False, first_place=part.first_row
        )
        return _sifted(Reading(records), surveyed, output)

    def work(reading: Reading) -> Sifted:
        read = with_evidence(reading.records, evidence)
        records = _free(sift(read, context, first_place=part.first_row), output.waiting)
        return _sifted(replace(reading, records=records), surveyed, output)

    return surveyed.file.work_through(part, columns, work)


def _free(sifted: pl.LazyFrame, waiting: WaitingWindows) -> pl.LazyFrame:
    """Let no record count as sound whose window is waiting."""
    if not waiting:
        return sifted
    keyed = with_columns_of(sifted, waiting.windows.columns)
    return keyed.with_columns(pl.col(SOUND) & ~waiting.holds().fill_null(value=False))


def _sifted(reading: Reading, surveyed: Survey, output: Output) -> Sifted:
    if output.template is None:
        text, (suspect, sums) = None, pl.collect_all(_suspects_and_sums(reading.records), engine="streaming")
    else:
        cells = _cells(surveyed, output)
        text, (suspect, sums) = output.template.with_gaps(reading, cells, SOUND, _suspects_and_sums)
    valid, quantity = sums.row(0)
    return Sifted(valid, Decimal(quantity or 0), _copied(suspect), text)


def _copied(few: pl.DataFrame) -> pl.DataFrame:
    """Return the records with texts of their own: a filtered text keeps all that was read with it in memory."""
    return few.with_columns(pl.col(pl.String) + "")


def _suspects_and_sums(sifted: pl.LazyFrame) -> list[pl.LazyFrame]:
    exact = pl.when(SOUND).then(VALUE_TEXT).cast(SOUND_VALUE)
    suspect = sifted.filter(~pl.col(SOUND)).drop(SOUND, VALUE_TEXT).drop(EVIDENCE, strict=False)
    return [suspect, sifted.select(pl.col(SOUND).sum(), exact.sum())]


def plan_run(surveyed: Survey, run: Sequence[Sifted], context: RepairContext, output: Output) -> RunPlan:
    """Plan consecutive sifted parts of a file: their suspects are treated together."""
    outcomes = sum((OutcomeCounts.of_valid(part.valid, part.quantity) for part in run), OutcomeCounts())
    suspects = with_evidence(pl.concat([part.suspect for part in run]), surveyed.facts.evidence)

    def hold(decided: pl.DataFrame) -> pl.DataFrame:
        return hold_windows(hold_unmended(hold_rows(decided, surveyed.rows.held)), output.waiting)

    decided = with_columns_of(treat_suspects(suspects, context, hold), output.columns)
    if not output.new_identifiers:
        decided = revised(decided, output.refused_for, surveyed.taken)
    faults = pl.coalesce(still_faulty(decided), all_faults()).alias(ALL_FAULTS)
    named = decided.with_columns(_identifier(surveyed, output), faults)
    treated = named.with_columns(as_it_came(output.columns))
    return RunPlan(outcomes + OutcomeCounts.of(treated), _corrected(run, treated, output), treated)


def output_columns(surveys: Sequence[Survey], catalog: Catalog, rules: Rules) -> list[str]:
    """Return the sender's columns over all files, and those that a remedy can fill."""
    fillable = [payload_column(key) for rule in rules.dimensions for key in rule.defaults]
    present = [name for surveyed in surveys for name in surveyed.facts.columns]
    return list(dict.fromkeys([*present, *catalog.customer_columns, *catalog.value_columns, *fillable]))


def context_of(
    surveyed: Survey, catalog: Catalog, rules: Rules, now: datetime, options: PlanOptions | None = None
) -> RepairContext:
    """Return what the file's records are repaired by."""
    for_dashboard = options is not None and options.for_dashboard
    return circumstances(catalog, rules, now, surveyed.repeated_rows, for_dashboard=for_dashboard)


def plan_surveyed(
    surveys: Sequence[Survey],
    catalog: Catalog,
    rules: Rules,
    now: datetime,
    options: PlanOptions,
    sink: Sink | None = None,
    on_part: OnPart = lambda _done, _of: None,
) -> PlanSummary:
    """Plan surveyed files part by part, and hand each part's records to `sink` in the files' order."""
    columns = output_columns(surveys, catalog, rules)
    waiting = _waiting(surveys, catalog, rules, now, options)
    template = None if sink is None else sink.template
    output = Output(columns, template, options.new_identifiers, options.refused_for, waiting)
    records = sum(surveyed.records for surveyed in surveys)
    by_file: list[OutcomeCounts] = []
    for surveyed in surveys:
        context = context_of(surveyed, catalog, rules, now, options)
        sift_one = partial(sift_part, surveyed, context=context, output=output)
        parts = surveyed.facts.parts
        runs = _runs(in_order(sift_one, parts, options.threads), len(parts))
        plan_one = partial(plan_run, surveyed, context=context, output=output)
        planned = in_order(plan_one, runs, options.threads)
        outcomes = OutcomeCounts()
        for found in in_order(partial(_hand_over, sink), planned, threads=1):
            outcomes += found
            on_part(sum(by_file, outcomes).total, records)
        by_file.append(outcomes)
    written = sink.close() if sink is not None else {}
    return PlanSummary(sum(by_file, OutcomeCounts()), surveys, by_file, written)


def _waiting(
    surveys: Sequence[Survey], catalog: Catalog, rules: Rules, now: datetime, options: PlanOptions
) -> WaitingWindows:
    """Return the windows of pre-aggregated meters in which a value will wait: all suspects are treated for that."""
    windows = Windows.of(catalog)
    if not windows:
        return NONE_WAITING
    output = Output(output_columns(surveys, catalog, rules))
    hashes = [NONE_WAITING.hashes]
    for surveyed in surveys:
        context = context_of(surveyed, catalog, rules, now, options)
        sift_one = partial(sift_part, surveyed, context=context, output=output)
        runs = _runs(in_order(sift_one, surveyed.facts.parts, options.threads), len(surveyed.facts.parts))
        hashes += in_order(partial(_waiting_in_run, surveyed, context, windows), runs, options.threads)
    return WaitingWindows(windows, pl.concat(hashes).unique())


def _waiting_in_run(surveyed: Survey, context: RepairContext, windows: Windows, run: Sequence[Sifted]) -> pl.Series:
    read = with_evidence(pl.concat([part.suspect for part in run]), surveyed.facts.evidence)
    suspects = read.filter(windows.may_concern())

    def hold(decided: pl.DataFrame) -> pl.DataFrame:
        return with_window(hold_unmended(hold_rows(decided, surveyed.rows.held)), windows)

    return waiting_in(treat_suspects(suspects, context, hold), surveyed.differences.rows)


def _hand_over(sink: Sink | None, planned: RunPlan) -> OutcomeCounts:
    if sink is not None:
        sink.append(planned.corrected, planned.treated)
    return planned.outcomes


def _runs(sifted: Iterable[Sifted], parts: int) -> Iterator[list[Sifted]]:
    """Join consecutive parts, of so many in all, until they have suspects enough to be worth a treatment."""
    run: list[Sifted] = []
    for part in sifted:
        run.append(part)
        suspects = sum(one.suspect.height for one in run)
        held = sum(one.text.held for one in run if one.text)
        if suspects >= RUN_SUSPECTS or held >= RUN_TEXT or len(run) * RUNS >= parts:
            yield run
            run = []
    if run:
        yield run


def _cells(surveyed: Survey, output: Output) -> list[pl.Expr]:
    """Return what a sound record has in each of the output's columns."""
    given = {name: pl.col(name) for name in surveyed.facts.columns} | {IDENTIFIER: _identifier(surveyed, output)}
    return [given.get(name, pl.lit(None, pl.String).alias(name)) for name in template_columns(output.columns)]


def _identifier(surveyed: Survey, output: Output) -> pl.Expr:
    """Return the identifier of each record: the sender's, one made from file and row, or the next revision's."""
    facts, identifier = surveyed.facts, pl.col(IDENTIFIER)
    if facts.missing_identifiers or facts.unreadable:
        identifier = with_identifiers(surveyed.identity, _row_of_origin(surveyed)).alias(IDENTIFIER)
    following = next_revisions(identifier, surveyed.taken.of_row()).alias(IDENTIFIER)
    return following if output.new_identifiers else identifier


def _row_of_origin(surveyed: Survey) -> pl.Expr | None:
    """Return what names the row of each record: the original's number where a failed-records file gives it.

    Its own row stands in for one that is missing, marked so that it is not taken for an original's.
    """
    if surveyed.failure is None or surveyed.failure.row is None:
        return None
    return pl.coalesce(original_row(surveyed.failure), pl.format("at-{}", ROW))


def _corrected(run: Sequence[Sifted], treated: pl.DataFrame, output: Output) -> Iterator[RecordText]:
    """Put the treated records that are to be sent into the gaps between the sound ones, part by part."""
    if output.template is None:
        return
    is_sent = treated[OUTCOME].is_in([Outcome.VALID, Outcome.REPAIRED])
    sent = treated.filter(is_sent).select(template_columns(output.columns))
    texts = output.template.records(output.template.rows(sent)) if sent.height else []
    fillings = [b""] * treated.height
    for place, text in zip(is_sent.arg_true().to_list(), texts, strict=True):
        fillings[place] = text
    first = 0
    for part in run:
        end = first + part.suspect.height
        if part.text is not None:
            records = part.valid + int(is_sent[first:end].sum())
            yield RecordText(part.text.filled(fillings[first:end]), records)
        first = end


def _headers(surveys: Sequence[Survey]) -> dict[str, str]:
    return {column: header for surveyed in surveys for column, header in surveyed.headers.items()}
