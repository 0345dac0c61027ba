"""What each fault means, in words for whoever sent the file, and the first record that shows it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from workers.kernel.codes import Code
from workers.kernel.reasons import VALUE_OF_OTHER_NOTATION
from workers.offline.summary import OutcomeCounts
from workers.offline.survey import Survey
from workers.records.catalog import CUSTOMER_ID, VALUE_TEXT, Catalog
from workers.records.files.json_record import PAYLOAD
from workers.records.schema import EVENT_NAME, IDENTIFIER, RAW, TIMESTAMP


@dataclass(frozen=True)
class Meaning:
    """What is wrong with a record, and the column in which it shows; null where something is absent."""

    text: str
    column: str | None = None


@dataclass(frozen=True)
class FaultGroup:
    """The records of a file with one fault: the first of their rows, and what stands in the very first."""

    slug: str
    meaning: str
    records: int
    rows: tuple[int, ...]
    example: str | None


MEANINGS: Final[Mapping[str, Meaning]] = {
    "not_utf8": Meaning("the row is not UTF-8 text", RAW),
    "wrong_column_count": Meaning("the row has more or fewer fields than the header", RAW),
    "stray_quote": Meaning("a quote stands inside a field that is not quoted", RAW),
    "unclosed_quote": Meaning("a quoted field does not end", RAW),
    "stray_carriage_return": Meaning("a carriage return stands in the middle of the row", RAW),
    "not_json": Meaning("the record is no JSON", RAW),
    "not_an_object": Meaning("the record is no JSON object", RAW),
    "duplicate_key": Meaning("a key stands twice in the record", RAW),
    "cut_line": Meaning("the file ends in the middle of the record", RAW),
    "too_long": Meaning("the record is far longer than a usage record", RAW),
    "too_many_keys": Meaning("the record has far more keys than a usage record", RAW),
    "event_name_missing": Meaning("the record has no event_name"),
    "event_name_too_long": Meaning("the event_name has more than 100 characters", EVENT_NAME),
    "identifier_too_long": Meaning("the identifier has more than 100 characters", IDENTIFIER),
    "identifier_repeated": Meaning(
        "an earlier record has this identifier: Stripe counts that one and skips this", IDENTIFIER
    ),
    "payload_as_text": Meaning("the payload is JSON text in one column, of which Stripe reads nothing", IDENTIFIER),
    "payload_not_an_object": Meaning("the payload is a text that is no JSON object", PAYLOAD),
    "timestamp_missing": Meaning("the record has no timestamp"),
    "timestamp_malformed": Meaning("the timestamp is no whole number of epoch seconds", TIMESTAMP),
    Code.TIMESTAMP_TOO_FAR_IN_PAST: Meaning("the timestamp is more than 35 days old", TIMESTAMP),
    Code.TIMESTAMP_IN_FUTURE: Meaning("the timestamp is more than 5 minutes ahead", TIMESTAMP),
    Code.NO_METER: Meaning("no meter has this event_name", EVENT_NAME),
    Code.ARCHIVED_METER: Meaning("the meter of this event_name is archived", EVENT_NAME),
    Code.NO_CUSTOMER_DEFINED: Meaning("nothing stands under the meter's customer key"),
    Code.CUSTOMER_NOT_FOUND: Meaning("no customer has this id", CUSTOMER_ID),
    Code.VALUE_NOT_FOUND: Meaning("nothing stands under the meter's value key"),
    Code.INVALID_VALUE: Meaning("the quantity is no plain decimal number", VALUE_TEXT),
    VALUE_OF_OTHER_NOTATION: Meaning("the file, or a rule, uses the quantity's point otherwise", VALUE_TEXT),
    Code.VALUE_TOO_MANY_DIGITS: Meaning("the quantity has more than 15 significant digits", VALUE_TEXT),
    Code.DIMENSION_COUNT_TOO_HIGH: Meaning("the record has more dimensions than the meter takes"),
    Code.MISSING_DIMENSION_PAYLOAD_KEYS: Meaning("the payload lacks one of the meter's dimensions"),
}
"""Every fault that the diagnosis can find, and every code of Stripe's."""


def fault_groups(surveyed: Survey, outcomes: OutcomeCounts, catalog: Catalog) -> list[FaultGroup]:
    """Return the faults of a surveyed file, the most frequent first. Reads the parts that hold an example again."""
    examples = dict(_examples(surveyed, outcomes, catalog))
    ordered = sorted(outcomes.faults.items(), key=lambda item: -item[1].records)
    return [
        FaultGroup(slug, MEANINGS[slug].text, found.records, found.rows, examples[slug]) for slug, found in ordered
    ]


def _examples(surveyed: Survey, outcomes: OutcomeCounts, catalog: Catalog) -> Iterator[tuple[str, str | None]]:
    """Yield each fault with what stands in its column in the first record that has it."""
    for part in surveyed.facts.parts:
        rows = {slug: found.rows[0] - part.first_row for slug, found in outcomes.faults.items()}
        here = {slug: row for slug, row in rows.items() if 0 <= row < part.rows}
        if here:
            frame = catalog.resolve(surveyed.file.read(part, surveyed.facts.columns))
            yield from ((slug, _text(frame, row, MEANINGS[slug].column)) for slug, row in here.items())


def _text(frame: pl.DataFrame, row: int, column: str | None) -> str | None:
    return None if column is None else frame.item(row, column)
