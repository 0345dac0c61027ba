"""`malformed_record`: refused for its form. Stripe gives such rows a message and no code.

Alone: a timestamp in RFC 3339, a Dashboard form or one that a language prints with its zone becomes epoch seconds,
which is what Stripe's file templates carry. By rule: a local time, whose zone the rule names, and further formats.
Every other fault of form has a code of its own, or needs a person.
"""

from typing import Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD as CODE
from workers.kernel.reasons import IDENTIFIER_REPEATED
from workers.records import timestamps
from workers.records.schema import TIMESTAMP
from workers.records.validation import PAYLOAD_NOT_AN_OBJECT, TIMESTAMP_MALFORMED, fault_column, first_fault
from workers.remedies.remedy import Context, Remedy, offer, sentence

_ADVICE: Final = {
    "event_name_missing": "name the meter's event_name",
    "event_name_too_long": "Stripe takes 100 characters in event_name",
    "identifier_too_long": "Stripe takes 100 characters in identifier",
    IDENTIFIER_REPEATED: "an earlier record has this identifier, or is another revision of it, and Stripe counts "
    "one of them: give this one its own if it counts as well",
    PAYLOAD_NOT_AN_OBJECT: 'its payload is a text that is no JSON object: write {"stripe_customer_id": …} there',
    "timestamp_missing": "say when the usage happened: Stripe would take the time of the upload",
}


def mend(rows: pl.DataFrame, context: Context) -> pl.DataFrame:
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


def advise(rows: pl.DataFrame, context: Context) -> pl.Series:
    """Say what the timestamp looks like, or what is wrong with the row."""
    advice = first_fault().replace_strict(
        _ADVICE, default="the row cannot be read as a record; see the original file"
    )
    malformed, rules = first_fault() == TIMESTAMP_MALFORMED, context.rules.timestamps
    doubt = timestamps.doubt(pl.col(TIMESTAMP), context.window, rules.formats, rules.naive_zone)
    return sentence(rows, pl.when(malformed).then(doubt).otherwise(advice))


MALFORMED_RECORD = Remedy(CODE, mend, advise)
