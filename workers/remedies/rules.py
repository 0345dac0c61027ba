"""Rules: what the operator told us. Read from `rules.toml`; reference and a worked example stand in docs/rules.md.

Without a rule a remedy does only what leaves no doubt. A rule widens that, and every change that it makes is
recorded under its name (`...alias_rule`, `...clamp_rule`, and so on). A running service reads them again when they
change (`RulesFile`).
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Final, Literal, Self, TypeVar, get_args
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from rapidfuzz import fuzz, process

from workers.kernel.errors import InputUnusable
from workers.records.files.decode import read_named, why_not
from workers.records.quantities import ORDINARY, Notation
from workers.records.schema import EVENT_NAME, MAX_SIGNIFICANT_DIGITS
from workers.records.timestamps import pattern_of

ALIAS: Final = "alias"
TARGET: Final = "target"
DEFAULT_HORIZON_HOURS: Final = 24
_LIKE_ENOUGH: Final = 75

Rounding = Literal["half_even", "half_up", "half_down", "up", "down", "ceiling", "floor"]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f"{name!r} is no IANA time zone") from error
    return name


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MissingCustomer(_Section):
    """Where the customer of a source stands, or which one it is, for records that name none."""

    source: str = "*"
    column: str | None = None
    constant: str | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.column is None) == (self.constant is None):
            raise ValueError("give either column or constant")
        return self

    def covers(self, source: str) -> bool:
        """Tell whether the rule is for the file of that name."""
        return fnmatchcase(source, self.source)


class CustomerRules(_Section):
    """How customers are found: aliases inline or from a CSV file, Stripe's metadata, and defaults of a source."""

    aliases: dict[str, str] = {}
    alias_file: Path | None = None
    metadata_key: str | None = None
    missing: tuple[MissingCustomer, ...] = ()


class EventNameRules(_Section):
    """Which event name is meant where another stands."""

    aliases: dict[str, str] = {}


class ValueRule(_Section):
    """How a meter's quantities are written, and where they stand when the meter's own key is empty.

    `decimal_comma` null: it does not say; false says that the point is the decimal mark.
    """

    meter: str = "*"
    column: str | None = None
    one_when_missing: bool = False
    decimal_comma: bool | None = None
    thousands: Literal[".", ",", "'", " "] | None = None
    strip_units: tuple[str, ...] = ()
    round_to_digits: int | None = Field(default=None, ge=1, le=MAX_SIGNIFICANT_DIGITS)
    rounding: Rounding = "half_even"

    @model_validator(mode="after")
    def _has_a_mark_for_each(self) -> Self:
        if (self.decimal_comma, self.thousands) in {(True, ","), (False, ".")}:
            raise ValueError(f"thousands = {self.thousands!r} is the decimal mark as well")
        return self

    @property
    def notation(self) -> Notation:
        """How the quantities are to be read."""
        return Notation(decimal_comma=self.decimal_comma, thousands=self.thousands, units=self.strip_units)


def _known_format(form: str) -> str:
    pattern_of(form)
    return form


class TimestampRules(_Section):
    """How times are written and what may be done to them.

    `formats` are in the zone `naive_zone`, or UTC. `horizon_hours`: how far ahead a record may lie and be deferred.
    """

    formats: tuple[Annotated[str, AfterValidator(_known_format)], ...] = ()
    naive_zone: Annotated[str, AfterValidator(_known_zone)] | None = None
    shift_seconds: int = 0
    horizon_hours: int = Field(default=DEFAULT_HORIZON_HOURS, ge=0)
    clamp_too_old: bool = False
    redate_too_old_to: datetime | None = None

    @model_validator(mode="after")
    def _moves_one_way(self) -> Self:
        if self.clamp_too_old and self.redate_too_old_to:
            raise ValueError("give either clamp_too_old or redate_too_old_to")
        if self.redate_too_old_to and self.redate_too_old_to.tzinfo is None:
            raise ValueError("redate_too_old_to needs a time zone")
        return self


class ArchivedMeterRule(_Section):
    """What becomes of the records of an archived meter: another meter counts them, or they wait."""

    meter: str
    successor: str | None = None
    wait: bool = False

    @model_validator(mode="after")
    def _decides_once(self) -> Self:
        if (self.successor is None) == (not self.wait):
            raise ValueError("give either successor or wait = true")
        return self


class DimensionRule(_Section):
    """Which payload keys of a meter stay, go, or have a default."""

    meter: str = "*"
    keep: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    defaults: dict[str, str] = {}

    @model_validator(mode="after")
    def _keeps_or_drops(self) -> Self:
        if self.keep is not None and self.drop:
            raise ValueError("give either keep or drop")
        return self


class TableRule(_Section):
    """Which columns of a table of usage hold a record, and when it was sent; `payload` is by payload key."""

    identifier: str
    timestamp: str
    event_name: str
    watermark: str
    payload: dict[str, str] = {}


MeterRule = TypeVar("MeterRule", ValueRule, ArchivedMeterRule, DimensionRule)


class _Document(_Section):
    customers: CustomerRules = CustomerRules()
    event_names: EventNameRules = EventNameRules()
    values: tuple[ValueRule, ...] = ()
    timestamps: TimestampRules = TimestampRules()
    archived_meters: tuple[ArchivedMeterRule, ...] = ()
    dimensions: tuple[DimensionRule, ...] = ()
    sources: dict[str, TableRule] = {}


@dataclass(frozen=True, eq=False)
class Rules:
    """The operator's rules, those for a named meter before those for every meter.

    Aliases are frames of `alias` and `target`, to be joined with: 100 k and more fit.
    """

    customers: CustomerRules = field(default_factory=CustomerRules)
    values: tuple[ValueRule, ...] = ()
    timestamps: TimestampRules = field(default_factory=TimestampRules)
    archived_meters: tuple[ArchivedMeterRule, ...] = ()
    dimensions: tuple[DimensionRule, ...] = ()
    sources: Mapping[str, TableRule] = field(default_factory=dict)
    customer_aliases: pl.DataFrame = field(default_factory=lambda: aliases_of({}))
    event_aliases: pl.DataFrame = field(default_factory=lambda: aliases_of({}))
    digest: str = ""
    """Names what stands in the file and its alias file; empty where there is no file."""

    def notation_of(self, event_name: str | None) -> Notation:
        """Return how the quantities of the event name are written."""
        return next((rule.notation for rule in self.values if rule.meter in {"*", event_name}), ORDINARY)

    @property
    def decimal_marks(self) -> dict[str, str | None]:
        """The decimal mark that is declared for each event name, `*` for all others; null where none is."""
        return {rule.meter: rule.notation.decimal_mark for rule in self.values}

    @property
    def renamed(self) -> dict[str, str]:
        """The event names that stand for another one: aliases, and archived meters that have a successor."""
        successors = {rule.meter: rule.successor for rule in self.archived_meters if rule.successor}
        return successors | dict(self.event_aliases.select(ALIAS, TARGET).iter_rows())

    @property
    def quantity_columns(self) -> tuple[str, ...]:
        """The columns that quantities are taken from where the meter's own key is empty."""
        return tuple(rule.column for rule in self.values if rule.column)


def load_rules(path: Path) -> Rules:
    """Read `rules.toml`; an alias file is looked for beside it. Raises InputUnusable, naming the key."""
    return parse_rules(read_named(path), where=str(path), folder=path.parent)


def parse_rules(text: str, *, where: str = "rules.toml", folder: Path = Path()) -> Rules:
    """Read rules from the text of a `rules.toml`. Raises InputUnusable."""
    try:
        document = _Document.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputUnusable(f"no TOML: {error}", where=where, mend="mend it there, see docs/rules.md") from error
    except ValidationError as error:
        raise InputUnusable(_first_problem(error), where=where, mend="see docs/rules.md") from error
    values = _by_meter("values", document.values, where)
    dimensions = _by_meter("dimensions", document.dimensions, where)
    archived_meters = _by_meter("archived_meters", document.archived_meters, where)
    customers = document.customers
    alias_file = read_alias_file(customers, folder)
    listed = (
        _listed_aliases(alias_file, str(folder / customers.alias_file)) if customers.alias_file else aliases_of({})
    )
    return Rules(
        customers=customers,
        values=values,
        timestamps=document.timestamps,
        archived_meters=archived_meters,
        dimensions=dimensions,
        sources=document.sources,
        customer_aliases=_one_target_each(pl.concat([aliases_of(customers.aliases), listed]), where),
        event_aliases=_one_target_each(aliases_of(document.event_names.aliases), where),
        digest=digest_of(text, alias_file),
    )


def meter_is(meter: str) -> pl.Expr:
    """Tell which records a rule for the meter of that event name covers; `*` covers all."""
    return pl.lit(value=True) if meter == "*" else pl.col(EVENT_NAME) == meter


def aliases_of(pairs: Mapping[str, str]) -> pl.DataFrame:
    """Return alias -> target as a frame to be joined with, as `translate` does."""
    columns = {ALIAS: list(pairs), TARGET: list(pairs.values())}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def digest_of(text: str, alias_file: bytes) -> str:
    """Return the name of rules by what stands in their files."""
    return sha256(b"\0".join([text.encode(), alias_file])).hexdigest()[:16]


def read_alias_file(customers: CustomerRules, folder: Path) -> bytes:
    """Return what stands in the alias file beside the rules; nothing where they name none. Raises InputUnusable."""
    if customers.alias_file is None:
        return b""
    path = folder / customers.alias_file
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputUnusable(why_not(error), where=str(path), mend="correct customers.alias_file") from error


def _listed_aliases(alias_file: bytes, where: str) -> pl.DataFrame:
    try:
        return pl.read_csv(alias_file, infer_schema=False).select(ALIAS, TARGET).drop_nulls()
    except pl.exceptions.PolarsError as error:
        lacks = isinstance(error, pl.exceptions.ColumnNotFoundError)
        what = "the alias file lacks a column" if lacks else "the alias file cannot be read as CSV"
        raise InputUnusable(what, where=where, mend="CSV, columns alias,target") from error


def _one_target_each(aliases: pl.DataFrame, where: str) -> pl.DataFrame:
    distinct = aliases.unique(maintain_order=True)
    double = distinct.filter(pl.col(ALIAS).is_duplicated())
    if not double.is_empty():
        raise InputUnusable(f"alias {double.item(0, ALIAS)!r} has two targets", where=where, mend="keep one")
    return distinct.sort(ALIAS)


def _by_meter(section: str, rules: tuple[MeterRule, ...], where: str) -> tuple[MeterRule, ...]:
    """Return the rules, that for every meter last. Raises InputUnusable where two are for one meter."""
    meters = [rule.meter for rule in rules]
    for meter in meters:
        if meters.count(meter) > 1:
            raise InputUnusable(f"two [[{section}]] are for the meter {meter!r}", where=where, mend="join them")
    return tuple(sorted(rules, key=lambda rule: rule.meter == "*"))


def _first_problem(error: ValidationError) -> str:
    misspelt_first = sorted(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    problem: Any = misspelt_first[0]
    key = ".".join(str(step) for step in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{key}: no such rule; {_rule_meant(problem['loc'])}"
    return f"{key}: {problem['msg'].removeprefix('Value error, ')}"


def _rule_meant(steps: Sequence[str | int]) -> str:
    """Name the rule that is spelled most like the last of the steps into a document, or all that it could be."""
    *above, last = [step for step in steps if isinstance(step, str)]
    section: Any = _Document
    for step in above:
        annotation = section.model_fields[step].annotation if step in section.model_fields else section
        kinds = (kind for kind in (*get_args(annotation), annotation) if isinstance(kind, type))
        section = next((kind for kind in kinds if issubclass(kind, _Section)), section)
    known = list(section.model_fields)
    near = process.extractOne(last, known, scorer=fuzz.WRatio, score_cutoff=_LIKE_ENOUGH)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"


_UNTOLD: Final = ""
"""A process before this one may have told of a fault: the first word, also that there is none, is always told."""


class RulesFile:
    """A rules file and its alias file, told apart by what stands in them.

    `rules` are what stood in them last. While they cannot be read, the last rules that could be stay in force.
    `tell` is called with the reason when that begins, and with None when it has ended or was over before.
    Threads may ask at once.
    """

    def __init__(self, path: Path, rules: Rules, tell: Callable[[InputUnusable | None], None]) -> None:
        self._path = path
        self._rules = rules
        self._tell = tell
        self._told: str | None = _UNTOLD
        self._turn = Lock()

    def current(self) -> Rules:
        """Return the rules as the file has them now, or had them last."""
        with self._turn:
            return self._current()

    def _current(self) -> Rules:
        fault = None
        try:
            aliases = read_alias_file(self._rules.customers, self._path.parent)
            if digest_of(read_named(self._path), aliases) != self._rules.digest:
                self._rules = load_rules(self._path)
        except InputUnusable as error:
            fault = error
        said = str(fault) if fault else None
        if said != self._told:
            self._tell(fault)
            self._told = said
        return self._rules
