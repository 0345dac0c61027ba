"""`metermend check`: what Stripe would refuse, before the upload."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from workers.cli.options import engine_options, knowledge, plan_options, planned
from workers.cli.show import FaultGroup, fault_groups, show_faults, show_files, show_unchecked
from workers.kernel import terminal
from workers.kernel.counting import counted
from workers.kernel.reasons import IDENTIFIER_REPEATED, NO_FAULT_FOUND, VALUE_OF_OTHER_NOTATION
from workers.offline.repair_files import PlanSummary
from workers.offline.summary import OutcomeCounts

_FOR_THE_DASHBOARD: Final = "too_large_for_dashboard"


@click.command()
@engine_options
@click.option(
    "--dashboard",
    is_flag=True,
    help="The files go to the Dashboard: take its forms of times, and hold --strict to its 5 MB as well.",
)
def check(files: tuple[Path, ...], as_json: bool, strict: bool, dashboard: bool, **given: Any) -> None:
    """Show every record that Stripe would refuse, or has refused, and why, by row, and what is odd about the files.

    Reads only. With --strict, exits with 1 when anything is found.
    """
    known = knowledge(given)
    summary = planned(files, known, plan_options(given, for_dashboard=dashboard))
    groups = [fault_groups(*of, known.catalog) for of in zip(summary.surveys, summary.by_file, strict=True)]
    if as_json:
        told = {"not_checked": known.unchecked, "files": _files(summary, groups)}
        click.echo(json.dumps({**summary.outcomes.as_json(), **told}))
    else:
        _show(summary, groups, known.unchecked)
    if strict and _has_findings(summary, dashboard=dashboard):
        sys.exit(1)


def _show(summary: PlanSummary, groups: Sequence[Sequence[FaultGroup]], unchecked: Sequence[str]) -> None:
    console = terminal.console(highlight=False, emoji=False)
    for surveyed, of_file in zip(summary.surveys, groups, strict=True):
        show_files(console, [surveyed])
        show_faults(console, of_file)
    for verdict in _verdicts(summary):
        console.print(verdict)
    show_unchecked(console, unchecked)
    if summary.outcomes.refused:
        console.print("`metermend repair` repairs what leaves no doubt.", style="dim")


def _verdicts(summary: PlanSummary) -> Iterator[str]:
    """Yield what Stripe would do with the usage files, and what it did with the rows of failed-records files."""
    usage, refused = (_outcomes(summary, failed_records=failed_records) for failed_records in (False, True))
    if usage is not None:
        yield _foretold(usage, odd=any(one.findings for one in summary.surveys if one.failure is None))
    if refused is not None:
        yield from _told(refused)


def _outcomes(summary: PlanSummary, *, failed_records: bool) -> OutcomeCounts | None:
    """Sum up the files of one kind; null where there is none."""
    files = zip(summary.surveys, summary.by_file, strict=True)
    of_kind = [outcomes for surveyed, outcomes in files if (surveyed.failure is not None) == failed_records]
    return sum(of_kind, OutcomeCounts()) if of_kind else None


def _foretold(outcomes: OutcomeCounts, *, odd: bool) -> str:
    """Say what Stripe would do with the records; where the files are `odd` it may refuse them whole."""
    of_all = counted(outcomes.total, "record")
    repeated, misread = map(outcomes.for_reason, (IDENTIFIER_REPEATED, VALUE_OF_OTHER_NOTATION))
    acts = {
        f"refuse {outcomes.refused:,}": outcomes.refused,
        f"skip {repeated:,} as repeated": repeated,
        f"perhaps misread {misread:,}": misread,
    }
    said = [act for act, records in acts.items() if records]
    if said:
        return f"Of {of_all} Stripe would {' and '.join(said)}."
    return f"No fault found in {of_all}" + (", but see what is said above of the files." if odd else ".")


def _told(outcomes: OutcomeCounts) -> Iterator[str]:
    codes = {code: sum(counts.values()) for code, counts in sorted(outcomes.by_code.items())}
    by_code = ", ".join(f"{code} {records:,}" for code, records in codes.items())
    yield f"Stripe refused {counted(outcomes.total, 'record')}" + (f": {by_code}." if by_code else ".")
    unexplained = outcomes.for_reason(NO_FAULT_FOUND)
    if unexplained:
        yield f"Nothing wrong shows in {unexplained:,} of them."


def _files(summary: PlanSummary, groups: Sequence[Sequence[FaultGroup]]) -> dict[str, Any]:
    return {
        str(surveyed.path): {
            "findings": [{"slug": finding.slug, "text": finding.text} for finding in surveyed.findings],
            "differences": [difference.as_json() for difference in surveyed.differences.shown],
            "faults": [asdict(group) for group in of_file],
        }
        for surveyed, of_file in zip(summary.surveys, groups, strict=True)
    }


def _has_findings(summary: PlanSummary, *, dashboard: bool) -> bool:
    slugs = {finding.slug for surveyed in summary.surveys for finding in surveyed.findings}
    return bool(summary.outcomes.faults) or bool(slugs - (set() if dashboard else {_FOR_THE_DASHBOARD}))
