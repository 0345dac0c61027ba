"""One file per code of Stripe's, and the registry of them. A code that is not here is put before a person.

A file says what the code means, how its records are mended, and what a person is told where they are not. It
imports `workers.remedies.remedy` and what lies below. Start with `no_meter`, the plainest; to add a code, copy
`archived_meter` and add its line to `REMEDIES`.
"""

from collections.abc import Mapping
from typing import Final

from workers.kernel.codes import MALFORMED_RECORD as MALFORMED
from workers.kernel.codes import Code
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
    MALFORMED: MALFORMED_RECORD,
    Code.NO_METER: NO_METER,
    Code.ARCHIVED_METER: ARCHIVED_METER,
    Code.TIMESTAMP_IN_FUTURE: TIMESTAMP_IN_FUTURE,
    Code.TIMESTAMP_TOO_FAR_IN_PAST: TIMESTAMP_TOO_FAR_IN_PAST,
    Code.NO_CUSTOMER_DEFINED: NO_CUSTOMER_DEFINED,
    Code.CUSTOMER_NOT_FOUND: CUSTOMER_NOT_FOUND,
    Code.VALUE_NOT_FOUND: VALUE_NOT_FOUND,
    Code.INVALID_VALUE: INVALID_VALUE,
    Code.VALUE_TOO_MANY_DIGITS: VALUE_TOO_MANY_DIGITS,
    Code.DIMENSION_COUNT_TOO_HIGH: DIMENSION_COUNT_TOO_HIGH,
    Code.MISSING_DIMENSION_PAYLOAD_KEYS: MISSING_DIMENSION_PAYLOAD_KEYS,
}
