"""What only the whole file can tell, found in one pass with bounded memory before any record is judged."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import polars as pl

from workers.kernel.errors import FileUnusable
from workers.records.layout import MAX_FILE_KEYS, Format, Part
from workers.records.repeats import RepeatFinder
from workers.records.schema import IDENTIFIER, UNREADABLE, template_order
from workers.records.streaming import in_order
from workers.records.usage_file import UsageFile


@dataclass(frozen=True)
class FileFacts:
    """Facts about a whole file.

    `columns` are the sender's columns over all parts, in the header's order (CSV) or the template's (JSON): passing
    them to `UsageFile.read` gives every part the same schema. `repeats` holds, per key that was asked for, the
    records that share their key with another: `@row`, `@first` and `@last` (Int64, rows of first and last record
    with that key), sorted by `@row`. Keys that occur once, and null keys, are absent.
    """

    parts: tuple[Part, ...]
    columns: tuple[str, ...]
    records: int
    unreadable: int
    missing_identifiers: int
    repeats: Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class _PartFacts:
    part: Part
    columns: list[str]
    unreadable: int
    missing_identifiers: int


def find_facts(
    file: UsageFile,
    parts: Iterable[Part] | None = None,
    *,
    keys: Mapping[str, pl.Expr] | None = None,
    needs: Sequence[str] = (),
) -> FileFacts:
    """Read the file once and return its facts; a second time only those parts that seem to hold repeats.

    `keys` maps a name to an expression that gives each record's key as text, or null where it has none; the default
    is the identifier. `needs` are the columns that the expressions read, besides the identifier.

    Raises FileUnusable where a JSON file's records have more than `MAX_FILE_KEYS` different keys.
    """
    keys = {IDENTIFIER: pl.col(IDENTIFIER)} if keys is None else keys
    wanted = list(dict.fromkeys([IDENTIFIER, *needs]))
    with ExitStack() as stack:
        finders = {name: stack.enter_context(RepeatFinder(file, key, wanted)) for name, key in keys.items()}

        def look(part: Part) -> _PartFacts:
            frame = file.read_and_keep(part) if _has_open_columns(file) else file.read(part, wanted)
            for finder in finders.values():
                finder.add(part, frame)
            return _PartFacts(
                part=part,
                columns=file.columns_of(frame) if _has_open_columns(file) else [],
                unreadable=frame[UNREADABLE].count(),
                missing_identifiers=frame.filter(pl.col(UNREADABLE).is_null())[IDENTIFIER].null_count(),
            )

        seen = list(in_order(look, file.parts() if parts is None else parts))
        repeats = {name: finder.repeats() for name, finder in finders.items()}
    return FileFacts(
        parts=tuple(facts.part for facts in seen),
        columns=_all_columns(file, seen),
        records=sum(facts.part.rows for facts in seen),
        unreadable=sum(facts.unreadable for facts in seen),
        missing_identifiers=sum(facts.missing_identifiers for facts in seen),
        repeats=repeats,
    )


def _has_open_columns(file: UsageFile) -> bool:
    """Whether a later record can bring a column that no earlier one has: so with JSON, not with CSV."""
    return file.layout.format is not Format.CSV


def _all_columns(file: UsageFile, seen: Sequence[_PartFacts]) -> tuple[str, ...]:
    if not _has_open_columns(file):
        return tuple(file.header_columns)
    columns = {name for facts in seen for name in facts.columns}
    if len(columns) > MAX_FILE_KEYS:
        raise FileUnusable(
            f"its records have {len(columns):,} different keys; at most {MAX_FILE_KEYS:,} can be read",
            where=file.layout.name,
            mend="keep what differs from record to record in a value, not in a key",
        )
    return tuple(template_order(list(columns)))
