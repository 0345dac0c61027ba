"""`malformed_record`: refused for its form. Stripe gives such rows a message and no code.

Alone: a timestamp in RFC 3339, a Dashboard form or one that a language prints with its zone becomes epoch seconds,
which is what Stripe's file templates carry. By rule: a local time, whose zone the rule names, and further formats.
Every other fault of form has a code of its own, or needs a person.
"""

from typing import Final

import polars as pl

from workers.kernel.code_reasons import CODE_REASONS
from workers.kernel.reasons import FORM
from workers.records import timestamps
from workers.records.schema import TIMESTAMP
from workers.records.validation import TIMESTAMP_MALFORMED, fault_column, first_fault
from workers.remedies.remedy import Remedy, RepairContext, offer, sentence

_ADVICE: Final = {slug: reason.clauses[1] for slug, reason in FORM.items()}


def mend(rows: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Write the timestamp as epoch seconds."""
    malformed = pl.when(pl.col(fault_column("timestamp")) == TIMESTAMP_MALFORMED).then(TIMESTAMP)
    zone, formats = context.rules.timestamps.naive_zone, context.rules.timestamps.formats
    ruled, free = timestamps.read_formats(malformed, formats, zone or "UTC"), ~timestamps.fits(malformed, formats)
    zoned = timestamps.read(malformed, context.window, zone) if zone else pl.lit(None, pl.Int64)
    return offer(
        rows,
        TIMESTAMP,
        ("format_rule", ruled.cast(pl.String)),
        ("form", pl.when(free).then(timestamps.read(malformed, context.window).cast(pl.String))),
        ("naive_zone_rule", pl.when(free).then(zoned.cast(pl.String))),
    )


def advise(rows: pl.DataFrame, context: RepairContext) -> pl.Series:
    """Say what the timestamp looks like, or what is wrong with the row."""
    advice = first_fault().replace_strict(_ADVICE, default=None)
    malformed, rules = first_fault() == TIMESTAMP_MALFORMED, context.rules.timestamps
    doubt = timestamps.doubt(pl.col(TIMESTAMP), context.window, rules.formats, rules.naive_zone)
    return sentence(rows, pl.when(malformed).then(doubt).otherwise(advice))


MALFORMED_RECORD = Remedy(
    "malformed_record",
    "record",
    CODE_REASONS["malformed_record"],
    mend,
    advise,
)
