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
from workers.kernel.codes import Outcome
from workers.records.catalog import VALUE_TEXT, Catalog, with_columns_of
from workers.records.identifiers import next_revisions, with_identifiers
from workers.records.layout import Part, ReadOptions
from workers.records.schema import IDENTIFIER, OUTCOME, ROW, payload_column
from workers.records.streaming import THREADS, in_order
from workers.records.writer import WrittenFile
from workers.remedies.outcome_counts import OutcomeCounts
from workers.remedies.plan_folder import PlanFolder, replaced_folder, write_plan
from workers.remedies.remedy import Context
from workers.remedies.repair import Examined, Sifted, circumstances, sift, treat_suspects
from workers.remedies.rules import Rules
from workers.remedies.survey import Kind, Survey, survey
from workers.remedies.treatment import PLACE
from workers.reports.failed_records import annotate

PART_BYTES: Final = 8 << 20
"""Size of a planned part, larger than the reader's: what is done for each costs as much however small it is."""
RUN_SUSPECTS: Final = 20_000
"""Suspect records that are enough for a run of parts: treatment costs some 40 ms however few there are."""
RUN_PARTS: Final = 2
"""Parts of a run at most: their sound records wait in memory, and four take 830 MiB where two take 560."""


@dataclass(frozen=True)
class PlanOptions:
    """How files are read, cut and written. `kind` null: found out. `new_identifiers`: the next revision's."""

    output: str = "csv"
    new_identifiers: bool = False
    kind: Kind | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)
    part_bytes: int = PART_BYTES
    threads: int = THREADS


@dataclass(frozen=True)
class PartPlan:
    """A planned run of parts, in the file's order: `corrected` holds the valid and repaired records, to be sent.

    `treated` holds every record that was not sound, with `PLAN_COLUMNS`: also the repaired ones.
    """

    outcomes: OutcomeCounts
    corrected: pl.DataFrame
    treated: pl.DataFrame


@dataclass(frozen=True)
class PlanSummary:
    """What became of the files: `surveys`, and `by_file` their outcomes, in the order given; `written` by kind."""

    outcomes: OutcomeCounts
    surveys: Sequence[Survey]
    by_file: Sequence[OutcomeCounts]
    written: Mapping[str, Sequence[WrittenFile]]

    def as_json(self) -> dict[str, Any]:
        """Return the document that `repair --json` prints: counts, quantities, and the files' names and records."""
        files = {
            kind: [{"name": file.path.name, "records": file.records} for file in files]
            for kind, files in self.written.items()
        }
        return {**self.outcomes.as_json(), "files": files}

    def as_plan(self) -> dict[str, Any]:
        """Return the document of plan.json: `as_json`, with what was read and what each remedy changed."""
        inputs = [
            {
                "name": surveyed.name,
                "kind": "usage" if surveyed.failure is None else "failed-records",
                "records": outcomes.total,
                "faults": {slug: found.records for slug, found in outcomes.faults.items()},
                "findings": [finding.text for finding in surveyed.findings],
            }
            for surveyed, outcomes in zip(self.surveys, self.by_file, strict=True)
        ]
        return {**self.as_json(), "changes": dict(self.outcomes.remedies), "inputs": inputs}


class Sink(Protocol):
    """Takes the planned parts of files, in order."""

    def append(self, corrected: pl.DataFrame, treated: pl.DataFrame) -> None:
        """Take in one part."""

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
    return survey(paths, catalog, kind=options.kind, reading=options.reading, part_bytes=options.part_bytes)


def plan_part(
    surveyed: Survey, part: Part, context: Context, columns: Sequence[str], *, new_identifiers: bool = False
) -> PartPlan:
    """Plan one part of a surveyed file. `columns` are those of the output (`output_columns`)."""
    sifted = sift_part(surveyed, part, context, columns)
    return plan_run(surveyed, [sifted], context, columns, new_identifiers=new_identifiers)


def sift_part(surveyed: Survey, part: Part, context: Context, columns: Sequence[str]) -> Sifted:
    """Read one part and sift it; of the sound records only what is needed any further is kept."""
    frame = surveyed.file.read(part, surveyed.facts.columns)
    if surveyed.failure is not None:
        frame = annotate(frame, surveyed.failure)
    sifted = sift(frame, context, resubmit_valid=surveyed.failure is None, first_place=part.first_row)
    return replace(sifted, sound=with_columns_of(sifted.sound, columns).select(*columns, ROW, VALUE_TEXT, PLACE))


def plan_run(
    surveyed: Survey,
    run: Sequence[Sifted],
    context: Context,
    columns: Sequence[str],
    *,
    new_identifiers: bool = False,
) -> PartPlan:
    """Plan consecutive sifted parts of a file: their suspects are treated together."""
    sound = pl.concat([sifted.sound for sifted in run])
    suspects = pl.concat([sifted.suspect for sifted in run])
    examined = Examined(sound, treat_suspects(suspects, context))
    treated = _identified(with_columns_of(examined.treated, columns), surveyed, new_identifiers=new_identifiers)
    sound = _identified(sound, surveyed, new_identifiers=new_identifiers)
    return PartPlan(OutcomeCounts.of(examined), _corrected(sound, treated, columns), treated)


def output_columns(surveys: Sequence[Survey], catalog: Catalog, rules: Rules) -> list[str]:
    """Return the sender's columns over all files, and those that a remedy can fill."""
    fillable = [payload_column(key) for rule in rules.dimensions for key in rule.defaults]
    present = [name for surveyed in surveys for name in surveyed.facts.columns]
    return list(dict.fromkeys([*present, *catalog.customer_columns, *catalog.value_columns, *fillable]))


def context_of(surveyed: Survey, catalog: Catalog, rules: Rules, now: datetime) -> Context:
    """Return what the file's records are repaired by."""
    return circumstances(catalog, rules, now, surveyed.repeated_rows)


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
    records = sum(surveyed.facts.records for surveyed in surveys)
    by_file: list[OutcomeCounts] = []
    for surveyed in surveys:
        context = context_of(surveyed, catalog, rules, now)
        sift_one = partial(sift_part, surveyed, context=context, columns=columns)
        runs = _runs(in_order(sift_one, surveyed.facts.parts, options.threads))
        plan_one = partial(
            plan_run, surveyed, context=context, columns=columns, new_identifiers=options.new_identifiers
        )
        outcomes = OutcomeCounts()
        for planned in in_order(plan_one, runs, options.threads):
            outcomes += planned.outcomes
            if sink is not None:
                sink.append(planned.corrected, planned.treated)
            on_part(sum(by_file, outcomes).total, records)
        by_file.append(outcomes)
    written = sink.close() if sink is not None else {}
    return PlanSummary(sum(by_file, OutcomeCounts()), surveys, by_file, written)


def _runs(parts: Iterable[Sifted]) -> Iterator[list[Sifted]]:
    """Join consecutive parts until they have suspects enough to be worth a treatment."""
    run: list[Sifted] = []
    for sifted in parts:
        run.append(sifted)
        if len(run) == RUN_PARTS or sum(one.suspect.height for one in run) >= RUN_SUSPECTS:
            yield run
            run = []
    if run:
        yield run


def _identified(frame: pl.DataFrame, surveyed: Survey, *, new_identifiers: bool) -> pl.DataFrame:
    """Give each record an identifier: the sender's, one made from file and row, or that of the next revision."""
    given = frame[IDENTIFIER].str.strip_chars().fill_null("") != ""
    if not given.all():
        frame = frame.with_columns(with_identifiers(surveyed.identity).alias(IDENTIFIER))
    if not new_identifiers:
        return frame
    return frame.with_columns(next_revisions(pl.col(IDENTIFIER)).alias(IDENTIFIER))


def _corrected(sound: pl.DataFrame, treated: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    sent = treated.filter(pl.col(OUTCOME).is_in([Outcome.VALID, Outcome.REPAIRED]))
    if sent.is_empty():
        return sound.select(columns)
    return pl.concat([sound.select(*columns, PLACE), sent.select(*columns, PLACE)]).sort(PLACE).drop(PLACE)


def _headers(surveys: Sequence[Survey]) -> dict[str, str]:
    return {column: header for surveyed in surveys for column, header in surveyed.headers.items()}
