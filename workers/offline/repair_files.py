"""Planning whole files: survey, then part by part from records to outcomes, then the files that hold them.

A part is planned without knowledge of the others, so parts can be planned side by side, in other processes too, and
the result is the same for any cut. Memory holds a few parts, never a file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import polars as pl

from workers.kernel.clock import to_text
from workers.kernel.codes import MALFORMED_RECORD, Outcome
from workers.offline.output_folder import PlanFolder, replaced_folder, write_plan
from workers.offline.repair_part import Output, RunPlan, Sifted, plan_run, sift_part, waiting_in_run
from workers.offline.scan import in_order
from workers.offline.summary import OutcomeCounts
from workers.offline.survey import PlanOptions, Survey, survey
from workers.offline.windows import NONE_WAITING, MeterWindows, WaitingWindows
from workers.records.catalog import Catalog
from workers.records.files.stripe_formats import Template
from workers.records.files.write import WrittenFile
from workers.records.schema import payload_column
from workers.remedies.engine import circumstances
from workers.remedies.remedy import RepairContext
from workers.remedies.rules import Rules

RUN_SUSPECTS: Final = 30_000
"""Suspect records that are enough for a run of parts: treatment costs some 0.1 s however few there are."""
RUN_TEXT: Final = 24 << 20
"""Bytes of sound records that may wait in memory for a run to have its suspects together."""
RUNS: Final = 2
"""Runs of a file at least, if it has the parts, so that one is treated while the next is read."""


@dataclass(frozen=True)
class PlanSummary:
    """What became of the files: `surveys`, and `by_file` their outcomes, in the order given; `written` by kind."""

    outcomes: OutcomeCounts
    surveys: Sequence[Survey]
    by_file: Sequence[OutcomeCounts]
    written: Mapping[str, Sequence[WrittenFile]] = field(default_factory=dict)

    @property
    def refused_for_form(self) -> int:
        """Repaired records to which Stripe gave no code, in failed-records files that have identifiers."""
        files = zip(self.surveys, self.by_file, strict=True)
        by_code = [
            of.by_code
            for surveyed, of in files
            if surveyed.failure is not None and surveyed.facts.records > surveyed.facts.missing_identifiers
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

    def append(self, corrected: Iterable[tuple[bytes, int]], treated: pl.DataFrame) -> None:
        """Take in one run, as `RunPlan` has it."""


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
    surveys = survey(paths, catalog, options)
    if out is None:
        return plan_surveyed(surveys, catalog, rules, now, options, on_part=on_part)
    with replaced_folder(out, inputs=paths) as folder:
        columns = output_columns(surveys, catalog, rules)
        with PlanFolder(folder, columns, _headers(surveys), options.output) as writers:
            planned = plan_surveyed(surveys, catalog, rules, now, options, writers, on_part)
            summary = replace(planned, written=writers.close())
        write_plan(folder, {"now": to_text(now), **summary.as_plan()})
    return summary


def output_columns(surveys: Sequence[Survey], catalog: Catalog, rules: Rules) -> list[str]:
    """Return the sender's columns over all files, and those that a remedy can fill."""
    fillable = [payload_column(key) for rule in rules.dimensions for key in rule.defaults]
    present = [name for surveyed in surveys for name in surveyed.facts.columns]
    return list(dict.fromkeys([*present, *catalog.customer_columns, *catalog.value_columns, *fillable]))


def context_of(
    surveyed: Survey, catalog: Catalog, rules: Rules, now: datetime, options: PlanOptions
) -> RepairContext:
    """Return what the file's records are repaired by."""
    return circumstances(catalog, rules, now, surveyed.repeated_rows, for_dashboard=options.for_dashboard)


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
        runs = _runs(surveyed, context, output, options)
        plan_one = partial(plan_run, surveyed, context=context, output=output)
        planned = in_order(plan_one, runs, options.threads)
        outcomes = OutcomeCounts()
        for found in in_order(partial(_hand_over, sink), planned, threads=1):
            outcomes += found
            on_part(sum(by_file, outcomes).total, records)
        surveyed.facts.file.require_unchanged()
        by_file.append(outcomes)
    return PlanSummary(sum(by_file, OutcomeCounts()), surveys, by_file)


def _waiting(
    surveys: Sequence[Survey], catalog: Catalog, rules: Rules, now: datetime, options: PlanOptions
) -> WaitingWindows:
    """Return the windows of pre-aggregated meters in which a value will wait: all suspects are treated for that."""
    windows = MeterWindows(catalog)
    if not windows:
        return NONE_WAITING
    output = Output(output_columns(surveys, catalog, rules))
    hashes = [NONE_WAITING.hashes]
    for surveyed in surveys:
        context = context_of(surveyed, catalog, rules, now, options)
        runs = _runs(surveyed, context, output, options)
        hashes += in_order(partial(waiting_in_run, surveyed, context, windows), runs, options.threads)
    return WaitingWindows(windows, pl.concat(hashes).unique())


def _hand_over(sink: Sink | None, planned: RunPlan) -> OutcomeCounts:
    if sink is not None:
        sink.append(planned.corrected, planned.treated)
    return planned.outcomes


def _runs(surveyed: Survey, context: RepairContext, output: Output, options: PlanOptions) -> Iterator[list[Sifted]]:
    """Sift the parts of a file, and join consecutive ones until their suspects are worth a treatment."""
    parts = surveyed.facts.parts
    run: list[Sifted] = []
    for part in in_order(partial(sift_part, surveyed, context=context, output=output), parts, options.threads):
        run.append(part)
        suspects = sum(one.suspect.height for one in run)
        held = sum(one.held for one in run)
        if suspects >= RUN_SUSPECTS or held >= RUN_TEXT or len(run) * RUNS >= len(parts):
            yield run
            run = []
    if run:
        yield run


def _headers(surveys: Sequence[Survey]) -> dict[str, str]:
    """Return the sender's own header of each column that was renamed."""
    renames = (surveyed.facts.file.layout.renames for surveyed in surveys)
    return {column: header for of_file in renames for header, column in of_file.items()}
