"""What each of Stripe's codes means where a record waits for a person, and what to do about it.

They stand here and not beside their remedies, since the console shows them, and a web process loads no remedy. A
code that is not among them may bring its own words with its remedy; the console then says what fits any code.
"""

from collections.abc import Mapping
from typing import Final

from workers.kernel.reasons import Reason

CODE_REASONS: Final[Mapping[str, Reason]] = {
    "archived_meter": Reason(
        "The meter of this event_name is archived.",
        "Reactivate the meter, or name its successor (rule archived_meters).",
    ),
    "malformed_record": Reason(
        "Stripe refused it for its form.",
        "The row cannot be read as a record; see the original file.",
    ),
    "meter_event_customer_not_found": Reason(
        "No customer has this id.",
        "Create the customer in Stripe, or say which one is meant (rule customers.aliases).",
    ),
    "meter_event_dimension_count_too_high": Reason(
        "The record has more dimensions than the meter takes.",
        "Say which payload keys to keep or to drop (rule dimensions).",
    ),
    "meter_event_invalid_value": Reason(
        "The quantity is no plain decimal number.",
        "Correct the quantity, or say how its file is written (rules values).",
    ),
    "meter_event_no_customer_defined": Reason(
        "Nothing stands under the meter's customer key.",
        "Name the customer, or where it stands (rule customers.missing).",
    ),
    "meter_event_value_not_found": Reason(
        "Nothing stands under the meter's value key.",
        "Name the column of the quantity (rule values.column).",
    ),
    "meter_event_value_too_many_digits": Reason(
        "The quantity has more than 15 significant digits.",
        "Stripe takes 15 digits; a rule may round (rule values.round_to_digits).",
    ),
    "missing_dimension_payload_keys": Reason(
        "The payload lacks one of the meter's dimensions.",
        "Fill in the dimension, or give its key a default (rule dimensions.defaults).",
    ),
    "no_meter": Reason(
        "No meter has this event_name.",
        "Create a meter with this event name, or say which one is meant (rule event_names.aliases).",
    ),
    "timestamp_in_future": Reason(
        "The timestamp is more than 5 minutes ahead.",
        "Correct the time, or let it wait (rule timestamps.horizon_hours).",
    ),
    "timestamp_too_far_in_past": Reason(
        "The timestamp is more than 35 days old.",
        "Bill it otherwise, or let a rule clamp or re-date it (rule timestamps).",
    ),
}
