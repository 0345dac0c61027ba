"""What a thin meter event tells of the records refused in one validation window: counts by code, and samples.

The samples are no list: `error_count` says how many records were refused, and the sender's own usage holds the
rest. Source: Stripe docs, "Record usage in bulk" (handle meter event errors), and stripe-python's
`V1BillingMeterErrorReportTriggeredEvent` and `V1BillingMeterNoMeterFoundEvent`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from workers.kernel.codes import Code
from workers.kernel.errors import Permanent
from workers.reports.fields import Fields

UNKNOWN = "unknown"
"""Our word for the code of records that a report counts under none."""
_NAME_IN_MESSAGE = re.compile(r"matching event_name (?P<name>.+)\.\s*$", re.DOTALL)
"""As in Stripe's own example of `v1.billing.meter.no_meter_found`; the payload names the event nowhere else."""


@dataclass(frozen=True)
class Sample:
    """One refused record. `event_name` is known only where Stripe's message tells it."""

    identifier: str | None
    message: str | None
    event_name: str | None


@dataclass(frozen=True)
class CodeErrors:
    """The records refused under one code. `error_count` is None where the event does not tell it."""

    code: str
    error_count: int | None
    samples: tuple[Sample, ...]

    @property
    def identifiers(self) -> tuple[str, ...]:
        """The sampled identifiers, each once, in the order of the event."""
        return tuple(dict.fromkeys(sample.identifier for sample in self.samples if sample.identifier))

    @property
    def told(self) -> int:
        """How many records it tells of: the larger of its number and its samples, one where it tells neither."""
        sampled = len(self.identifiers) + sum(sample.identifier is None for sample in self.samples)
        return max(1 if self.error_count is None else self.error_count, sampled)


@dataclass(frozen=True)
class ErrorReport:
    """One report. Times are aware UTC; `meter_id` and `event_name` are None where no meter was found.

    `error_count` is the total over all codes; what it counts beyond them is counted in `errors` too. `oddities` are
    sentences for a person: with one of them in a report the counts may not be trusted to be all there is.
    """

    event_id: str | None
    meter_id: str | None
    event_name: str | None
    window_start: datetime | None
    window_end: datetime | None
    summary: str | None
    error_count: int | None
    errors: tuple[CodeErrors, ...]
    oddities: tuple[str, ...]


def read(event: Mapping[str, Any], meter: Mapping[str, Any] | None = None) -> ErrorReport:
    """Read a fetched `v1.billing.meter.error_report_triggered` or `….no_meter_found` event.

    `meter` is the meter it is about, where it could be fetched. Unknown codes are kept as they are. Raises
    Permanent when the event is not an object.
    """
    if not isinstance(event, Mapping):
        raise Permanent("the event is no JSON object")
    fields = Fields()
    data = fields.mapping(event.get("data"), "data")
    if not data:
        fields.note("the event has no data: it was not fetched, or it is empty")
    reason = fields.mapping(data.get("reason"), "data.reason")
    errors = _errors(fields, reason.get("error_types"))
    if data and not errors:
        fields.note("the event names no code")
    total = _total(fields, reason.get("error_count"), errors)
    known_meter = fields.mapping(meter, "meter")
    return ErrorReport(
        event_id=fields.text(event.get("id"), "id"),
        meter_id=_meter_id(fields, event, known_meter),
        event_name=fields.text(known_meter.get("event_name"), "meter.event_name"),
        window_start=fields.moment(data.get("validation_start"), "data.validation_start"),
        window_end=fields.moment(data.get("validation_end"), "data.validation_end"),
        summary=fields.text(data.get("developer_message_summary"), "data.developer_message_summary"),
        error_count=total,
        errors=_with_surplus(errors, total or 0),
        oddities=tuple(fields.oddities),
    )


def _meter_id(fields: Fields, event: Mapping[str, Any], meter: Mapping[str, Any]) -> str | None:
    related = fields.identity(event.get("related_object"), "related_object")
    own = fields.text(meter.get("id"), "meter.id")
    if related and own and related != own:
        fields.note(f"the event is about {related}, but the meter at hand is {own}")
    return related or own


def _errors(fields: Fields, error_types: object) -> tuple[CodeErrors, ...]:
    """Read the codes; one that stands twice is read as one."""
    errors: dict[str, CodeErrors] = {}
    for number, item in enumerate(fields.items(error_types, "data.reason.error_types")):
        found = _code_errors(fields, item, f"error_types[{number}]")
        if earlier := errors.get(found.code):
            fields.note(f"{found.code} stands twice")
            found = CodeErrors(found.code, earlier.told + found.told, earlier.samples + found.samples)
        errors[found.code] = found
    for found in errors.values():
        _check_samples(fields, found)
    return tuple(errors.values())


def _code_errors(fields: Fields, item: object, where: str) -> CodeErrors:
    error_type = fields.mapping(item, where)
    code = fields.text(error_type.get("code"), f"{where}.code")
    if code is None:
        fields.note(f"{where} has no code")
    count = fields.count(error_type.get("error_count"), f"{where}.error_count")
    if count is None:
        fields.note(f"{code or UNKNOWN} has no error_count")
    place = f"{where}.sample_errors"
    samples = fields.items(error_type.get("sample_errors"), place)
    return CodeErrors(code or UNKNOWN, count, tuple(_sample(fields, sample, code, place) for sample in samples))


def _sample(fields: Fields, item: object, code: str | None, where: str) -> Sample:
    """Read both published shapes of a sample: `request.identifier`, formerly `request.idempotency_key`."""
    sample = fields.mapping(item, where)
    request = fields.mapping(sample.get("request"), f"{where}.request")
    message = fields.text(sample.get("error_message"), f"{where}.error_message")
    named = [fields.text(request.get(name), f"{where}.request") for name in ("identifier", "idempotency_key")]
    match = _NAME_IN_MESSAGE.search(message or "") if code == Code.NO_METER else None
    return Sample(next(filter(None, named), None), message, event_name=match["name"] if match else None)


def _check_samples(fields: Fields, errors: CodeErrors) -> None:
    if errors.error_count is not None and len(errors.identifiers) > errors.error_count:
        fields.note(f"{errors.code} counts {errors.error_count} records, but samples {len(errors.identifiers)}")
    if any(sample.identifier is None for sample in errors.samples):
        fields.note(f"{errors.code} has a sample without an identifier")


def _total(fields: Fields, value: object, errors: tuple[CodeErrors, ...]) -> int | None:
    """Return the report's own total, else the sum; a total that differs from its parts is odd."""
    stated = fields.count(value, "data.reason.error_count")
    counts = [found.error_count for found in errors]
    known = sum(count for count in counts if count is not None) if None not in counts else None
    if stated is not None and known is not None and stated != known:
        fields.note(f"the report counts {stated} records, its codes {known}")
    return known if stated is None and errors else stated


def _with_surplus(errors: tuple[CodeErrors, ...], total: int) -> tuple[CodeErrors, ...]:
    """Count what the report counts beyond its codes: under the code that it must be of, else under none of them."""
    surplus = total - sum(found.told for found in errors)
    if surplus <= 0:
        return errors
    by_code = {found.code: found for found in errors}
    meant = [found.code for found in errors if found.error_count is None] or list(by_code)
    code = meant[0] if len(meant) == 1 else UNKNOWN
    found = by_code.get(code, CodeErrors(code, 0, ()))
    by_code[code] = replace(found, error_count=found.told + surplus)
    return tuple(by_code.values())
