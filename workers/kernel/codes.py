"""Words of Stripe's that modules speak of by name, and ours for what a plan decides. Unknown ones are kept.

Which codes have a remedy, `workers.remedies.codes` says. Sources: Stripe docs, "Record usage in bulk" (handle meter
event errors), and the `code` enums of stripe-python's `V1BillingMeterErrorReportTriggeredEvent` and
`V1BillingMeterNoMeterFoundEvent`.
"""

from enum import StrEnum
from typing import Final


class Code(StrEnum):
    """Why Stripe refused a well-formed usage record: the codes that the diagnosis finds, or a reader looks for.

    A code that only its remedy speaks of needs no name here.
    """

    CUSTOMER_NOT_FOUND = "meter_event_customer_not_found"
    NO_CUSTOMER_DEFINED = "meter_event_no_customer_defined"
    DIMENSION_COUNT_TOO_HIGH = "meter_event_dimension_count_too_high"
    ARCHIVED_METER = "archived_meter"
    TIMESTAMP_TOO_FAR_IN_PAST = "timestamp_too_far_in_past"
    TIMESTAMP_IN_FUTURE = "timestamp_in_future"
    VALUE_NOT_FOUND = "meter_event_value_not_found"
    INVALID_VALUE = "meter_event_invalid_value"
    VALUE_TOO_MANY_DIGITS = "meter_event_value_too_many_digits"
    MISSING_DIMENSION_PAYLOAD_KEYS = "missing_dimension_payload_keys"
    NO_METER = "no_meter"


MALFORMED_RECORD = "malformed_record"
"""Our own word for a format refusal: Stripe gives such rows a message, but no code."""


class EventType(StrEnum):
    """The event types that open or settle a case, or that records of one wait for."""

    IMPORT_SET_FAILED = "data_management.import_set.failed"
    IMPORT_SET_SUCCEEDED = "data_management.import_set.succeeded"
    ERROR_REPORT_TRIGGERED = "v1.billing.meter.error_report_triggered"
    NO_METER_FOUND = "v1.billing.meter.no_meter_found"
    METER_REACTIVATED = "v1.billing.meter.reactivated"
    METER_REACTIVATED_SNAPSHOT = "billing.meter.reactivated"
    CUSTOMER_CREATED = "customer.created"


FAILED_RECORDS_FILE: Final = "failed_records_file"
"""Our own type: a failed-records file that a person gives, see `given_file`."""
WORKED_ON: Final = frozenset({*map(str, EventType), FAILED_RECORDS_FILE})
"""The types of all events that a worker works on."""


class Outcome(StrEnum):
    """What a plan decides for one record."""

    VALID = "valid"
    REPAIRED = "repaired"
    DEFERRED = "deferred"
    QUARANTINED = "quarantined"
