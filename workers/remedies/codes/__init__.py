"""One file per code of Stripe's, and the registry of them. A code that is not here is put before a person.

A file says what the code means, which aspect of a record it speaks of, how its records are mended, and what a
person is told where they are not. It imports `workers.remedies.remedy` and what lies below. Start with `no_meter`,
the plainest; to add a code, copy `archived_meter` and add its line to `REMEDIES`: nothing else has to know of it.
"""

from collections.abc import Mapping
from typing import Final

from workers.kernel.reasons import REASONS, Reason
from workers.remedies.codes.archived_meter import ARCHIVED_METER
from workers.remedies.codes.malformed_record import MALFORMED_RECORD
from workers.remedies.codes.meter_event_customer_not_found import CUSTOMER_NOT_FOUND
from workers.remedies.codes.meter_event_dimension_count_too_high import DIMENSION_COUNT_TOO_HIGH
from workers.remedies.codes.meter_event_invalid_value import INVALID_VALUE
from workers.remedies.codes.meter_event_no_customer_defined import NO_CUSTOMER_DEFINED
from workers.remedies.codes.meter_event_value_not_found import VALUE_NOT_FOUND
from workers.remedies.codes.meter_event_value_too_many_digits import VALUE_TOO_MANY_DIGITS
from workers.remedies.codes.missing_dimension_payload_keys import MISSING_DIMENSION_PAYLOAD_KEYS
from workers.remedies.codes.no_meter import NO_METER
from workers.remedies.codes.timestamp_in_future import TIMESTAMP_IN_FUTURE
from workers.remedies.codes.timestamp_too_far_in_past import TIMESTAMP_TOO_FAR_IN_PAST
from workers.remedies.remedy import Remedy

REMEDIES: Final[Mapping[str, Remedy]] = {
    remedy.code: remedy
    for remedy in (
        MALFORMED_RECORD,
        NO_METER,
        ARCHIVED_METER,
        TIMESTAMP_IN_FUTURE,
        TIMESTAMP_TOO_FAR_IN_PAST,
        NO_CUSTOMER_DEFINED,
        CUSTOMER_NOT_FOUND,
        VALUE_NOT_FOUND,
        INVALID_VALUE,
        VALUE_TOO_MANY_DIGITS,
        DIMENSION_COUNT_TOO_HIGH,
        MISSING_DIMENSION_PAYLOAD_KEYS,
    )
}
"""Code -> remedy. Within an aspect the order counts: of several codes that Stripe gave, the first is treated."""


def stripes_codes() -> tuple[str, ...]:
    """Return the codes that are Stripe's own words: all but `malformed_record`, which is ours."""
    return tuple(code for code in REMEDIES if code != MALFORMED_RECORD.code)


def reasons() -> Mapping[str, Reason]:
    """Return what each code and every other reason means, and what to do about it."""
    return {**REASONS, **{code: remedy.reason for code, remedy in REMEDIES.items()}}
