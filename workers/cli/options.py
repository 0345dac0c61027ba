"""The options that `check`, `repair` and `rules explain` share, and what they are read into."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from workers.cli.show import progress
from workers.kernel.clock import from_text, utc_now
from workers.kernel.errors import InputUnusable
from workers.offline.repair_files import PlanSummary, plan_file
from workers.offline.survey import PlanOptions
from workers.offline.windows import MeterWindows
from workers.records.catalog import Catalog, load_customers, load_meters
from workers.records.files.layout import Format, ReadOptions
from workers.remedies import Rules, load_rules

Command = TypeVar("Command", bound=Callable[..., Any])

PATH: Final = click.Path(path_type=Path, dir_okay=False)
_OPTIONS: Final = (
    click.argument("files", metavar="FILE...", nargs=-1, required=True, type=PATH),
    click.option(
        "--meters", type=PATH, help="Stripe's meter objects: JSON, as GET /v1/billing/meters?limit=100 gives them."
    ),
    click.option("--customers", type=PATH, help="Known customer ids, one a line."),
    click.option("--rules", type=PATH, help="Your rules.toml (docs/rules.md)."),
    click.option("--now", metavar="ISO8601", help="Judge times as of this moment, not the present."),
    click.option(
        "--kind", type=click.Choice(["usage", "failed-records"]), help="What the files are; found out otherwise."
    ),
    click.option(
        "--format-in",
        type=click.Choice([str(one) for one in Format]),
        help="The files' format; found out otherwise.",
    ),
    click.option("--encoding", help="The files' encoding, e.g. latin-1; found out otherwise."),
    click.option("--delimiter", help="The CSV delimiter; found out otherwise."),
    click.option("--column", "columns", metavar="THEIRS=OURS", multiple=True, help="Read a column as another."),
    click.option("--code-column", help="Column of Stripe's code in a failed-records file."),
    click.option("--error-column", help="Column of Stripe's message in a failed-records file."),
    click.option("--row-column", help="Column of the original row in a failed-records file."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table."),
    click.option("--strict", is_flag=True, help="Exit with 1 when something needs a person."),
)


_METERS: Final = (
    "event names, the meters' own keys of customer and value, dimensions and time windows, for want of --meters"
)
_CUSTOMERS: Final = "whether the customers exist, for want of --customers"
_HELD_WINDOWS: Final = (
    "which values Stripe already holds for the windows of pre-aggregated meters: what is sent replaces them"
)


@dataclass(frozen=True)
class Knowledge:
    """What the operator told on the command line of the account, the rules and the time."""

    catalog: Catalog
    rules: Rules
    now: datetime

    @property
    def unchecked(self) -> list[str]:
        """What cannot be checked for want of an option, and by its nature."""
        unchecked = [text for known, text in ((self.catalog.meters, _METERS), (self.catalog.customers, _CUSTOMERS))
                     if known is None]  # fmt: skip
        return [*unchecked, _HELD_WINDOWS] if MeterWindows(self.catalog) else unchecked


def engine_options(command: Command) -> Command:
    """Give a click command the options of the engine."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def knowledge(given: Mapping[str, Any]) -> Knowledge:
    """Load what the options name. Raises InputUnusable."""
    meters, customers, rules = given["meters"], given["customers"], given["rules"]
    catalog = Catalog(
        meters=load_meters(meters) if meters else None,
        customers=load_customers(customers) if customers else None,
    )
    return Knowledge(catalog, load_rules(rules) if rules else Rules(), _moment(given["now"]))


def plan_options(given: Mapping[str, Any], **output: Any) -> PlanOptions:
    """Return the options of a plan; `output` are its fields that say what is written."""
    declared = ReadOptions(
        format=Format(given["format_in"]) if given["format_in"] else None,
        encoding=given["encoding"],
        delimiter=_delimiter(given["delimiter"]),
        headers=dict(map(_pair, given["columns"])),
        code_column=given["code_column"],
        error_column=given["error_column"],
        row_column=given["row_column"],
    )
    return PlanOptions(kind=given["kind"], reading=declared, **output)


def planned(files: Sequence[Path], known: Knowledge, options: PlanOptions, out: Path | None = None) -> PlanSummary:
    """Plan the files under a progress bar; writes where `out` names a folder."""
    with progress() as on_part:
        return plan_file(
            files,
            catalog=known.catalog,
            rules=known.rules,
            now=known.now,
            out=out,
            options=options,
            on_part=on_part,
        )


def _delimiter(text: str | None) -> str | None:
    if text is not None and (len(text) != 1 or not text.isascii() or text in '"\r\n'):
        raise InputUnusable(f"{text!r} cannot separate fields", where="--delimiter", mend="e.g. ';' or $'\\t'")
    return text


def _moment(text: str | None) -> datetime:
    if text is None:
        return utc_now()
    try:
        return from_text(text)
    except ValueError as error:
        raise InputUnusable(f"{text!r} is no time", where="--now", mend="e.g. 2026-11-21T12:00:00Z") from error


def _pair(text: str) -> tuple[str, str]:
    theirs, sign, ours = text.partition("=")
    if not (sign and theirs and ours):
        raise InputUnusable(
            f"{text!r} names no two columns", where="--column", mend="e.g. --column usage=payload_value"
        )
    return theirs, ours
