"""What the page of a case offers to decide: each act with its form, where it fits what waits in the case."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from workers.kernel.codes import Code
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.journal import Bucket
from workers.kernel.reasons import UNCERTAIN

Fields = Mapping[str, str]
Arguments = Callable[[str, Fields, Mapping[str, Any]], dict[str, Any]]
"""Makes an act's arguments of the case, what was written into the form, and which records were chosen."""


@dataclass(frozen=True)
class Standing:
    """How a case stands: the reasons that records wait for, how many are unconfirmed, whether rows are known."""

    case: Case
    reasons: Mapping[str, Any]
    unconfirmed: int
    only_counted: bool

    @property
    def waits(self) -> bool:
        """Whether records wait for a person, or for their time."""
        return any(self.case.balance[bucket].records for bucket in (Bucket.QUARANTINED, Bucket.DEFERRED))

    @property
    def has_certain(self) -> bool:
        """Whether records wait that are certainly not billed."""
        quarantined = self.case.balance[Bucket.QUARANTINED].records
        return bool(quarantined) and (not self.reasons or not set(self.reasons) <= set(UNCERTAIN))

    @property
    def has_uncertain(self) -> bool:
        """Whether records go only when somebody answers for it."""
        return bool(self.unconfirmed) or not set(self.reasons).isdisjoint(UNCERTAIN)


@dataclass(frozen=True)
class Field:
    """One thing that a form asks for. `choices` are value -> words; `meter` fills in the case's own."""

    name: str
    label: str
    hint: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    is_meter: bool = False
    is_optional: bool = False


@dataclass(frozen=True)
class Offer:
    """An act that the page of a case offers, and what its form asks for beside a reason.

    `chooses`: the form asks which of the waiting records are meant.
    """

    kind: str
    title: str
    what: str
    fits: Callable[[Standing], bool]
    arguments: Arguments
    fields: Sequence[Field] = ()
    chooses: bool = False


def _of_case(case_id: str, fields: Fields, chosen: Mapping[str, Any]) -> dict[str, Any]:
    return {"case_id": case_id, **fields, **chosen}


def _of_cases(case_id: str, fields: Fields, chosen: Mapping[str, Any]) -> dict[str, Any]:
    return {"cases": [case_id], **fields, **chosen}


def _rule(kind: str) -> Arguments:
    return lambda _case_id, fields, _chosen: {"rule": kind, "key": fields["old"], "value": fields["new"]}


def _decimal_mark(_case_id: str, fields: Fields, _chosen: Mapping[str, Any]) -> dict[str, Any]:
    value = fields["mark"] + _MARKS_BETWEEN.get(fields["thousands"], "")
    return {"rule": "decimal_mark", "key": fields["old"], "value": value}


def _waits_for(*codes: str) -> Callable[[Standing], bool]:
    return lambda standing: not set(codes).isdisjoint(standing.reasons)


_HOLDS: Final = "It is tried on all records that wait, of all cases, and holds from then on."
_MARKS_BETWEEN: Final = {"comma": ",", "point": ".", "apostrophe": "'", "blank": " "}
_METER: Final = Field("old", "Event name of the meter", is_meter=True)

OFFERS: Final[Mapping[str, Offer]] = {
    "map_customer": Offer(
        "make_rule", "Map a customer",
        f"Say which customer of Stripe's is meant by what your records name. {_HOLDS}",
        _waits_for(Code.CUSTOMER_NOT_FOUND), _rule("customer"),
        (Field("old", "Your records name"), Field("new", "Stripe's customer", "cus_…")),
    ),
    "map_meter": Offer(
        "make_rule", "Map an event name",
        f"Say which meter's event name is meant by another one. {_HOLDS}",
        _waits_for(Code.NO_METER, Code.ARCHIVED_METER), _rule("meter"),
        (Field("old", "Your records name"), Field("new", "Stripe's event name")),
    ),
    "map_value_key": Offer(
        "make_rule", "Name the key of the quantity",
        f"Say under which key of the payload a meter's quantity stands where its own key is empty. {_HOLDS}",
        _waits_for(Code.VALUE_NOT_FOUND), _rule("value_key"),
        (_METER, Field("new", "Key of the payload")),
    ),
    "map_decimal_mark": Offer(
        "make_rule", "Say how quantities are written",
        f"Say which mark stands before the decimals of a meter's quantities (* for every meter). {_HOLDS}",
        _waits_for(Code.INVALID_VALUE), _decimal_mark,
        (
            _METER,
            Field("mark", "Decimal mark", choices={",": "comma: 12,5", ".": "point: 12.5"}),
            Field(
                "thousands", "Mark between thousands", is_optional=True,
                choices={
                    "": "none", "point": "point: 1.000", "comma": "comma: 1,000", "apostrophe": "apostrophe: 1'000",
                    "blank": "blank: 1 000",
                },
            ),
        ),
    ),
    "set_value": Offer(
        "set_value", "Change one value",
        "Put another text into one field of one record. It is checked again with everything else.",
        lambda standing: standing.has_certain and not standing.only_counted, _of_case,
        (
            Field("record", "Record", "r17: its key in the CSV"),
            Field("field", "Field", "timestamp, event_name or a payload column"),
            Field("value", "New value", is_optional=True),
        ),
    ),
    "retry": Offer(
        "retry", "Retry", "Plan these records again, with every guard: after you have mended the cause.",
        lambda standing: standing.has_certain, _of_cases, chooses=True,
    ),
    "release": Offer(
        "release", "Release",
        "Let records go that may be billed already: you have looked in Stripe, and answer for it.",
        lambda standing: standing.has_uncertain, _of_cases, chooses=True,
    ),
    "corrected": Offer(
        "corrected", "Billed otherwise",
        "Say that these records were billed in another way: metermend will not send them.",
        lambda standing: standing.waits, _of_case, (Field("reference", "Where", "an invoice, for example"),),
        chooses=True,
    ),
    "write_off": Offer(
        "write_off", "Write off", "Let these records go unbilled, knowingly.",
        lambda standing: standing.waits, _of_case, chooses=True,
    ),
}  # fmt: skip
"""What a page offers, by the name of its form."""


def fitting(standing: Standing) -> dict[str, Offer]:
    """Return the offers that fit how a case stands."""
    return {name: offer for name, offer in OFFERS.items() if offer.fits(standing)}
