"""Rules that people make at the terminal, laid over those of `rules.toml`.

Where both speak of the same customer or meter, the later word holds, which is the made rule's: the file is read as
it stands, and nobody knows when a line of it was written. `contradictions` says where they differ.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from workers.kernel.errors import InputUnusable
from workers.records.schema import PAYLOAD_PREFIX, payload_column
from workers.remedies.rules import ALIAS, TARGET, Rules, ValueRule, aliases_of

if TYPE_CHECKING:  # who repairs a file loads these modules too, and needs no database
    from workers.kernel.ledger.rules import MadeRule

EVERY_METER: Final = "*"
_MARKS: Final = (",", ".")


class RuleKind(StrEnum):
    """What a rule is about."""

    CUSTOMER = "customer"
    """`key` stands where the customer `value` is meant."""
    METER = "meter"
    """`key` stands where the event name `value` is meant."""
    VALUE_KEY = "value_key"
    """The quantity of the meter `key` stands in the payload under `value` where the meter's own key is empty."""
    DECIMAL_MARK = "decimal_mark"
    """The quantities of the meter `key` have this decimal mark, and perhaps a mark between thousands."""


def require_sound(kind: str, key: str, value: str) -> None:
    """Raise InputUnusable where nobody can follow the rule."""
    if not key.strip() or not value.strip():
        raise InputUnusable("an empty text stands for nothing", where=f"map {kind}", mend="give both texts")
    if key == value:
        raise InputUnusable("both texts are the same", where=key, mend="say what is meant instead")
    if kind == RuleKind.DECIMAL_MARK:
        try:
            _decimal_mark(ValueRule(meter=key), value)
        except ValueError:
            raise InputUnusable(
                "no decimal mark, or both marks are one", where=value, mend="`,` or `.`, and another for thousands"
            ) from None


def with_made(rules: Rules, made: "Sequence[MadeRule]") -> Rules:
    """Return the file's rules with those that people have made, the oldest first, laid over them."""
    if not made:
        return rules
    values = list(rules.values)
    for rule in made:
        if rule.kind in _VALUES:
            values = _with_value(values, rule)
    said = [f"{rule.kind}\0{rule.key}\0{rule.value}" for rule in made]
    return replace(
        rules,
        customer_aliases=_with_aliases(rules.customer_aliases, made, RuleKind.CUSTOMER),
        event_aliases=_with_aliases(rules.event_aliases, made, RuleKind.METER),
        values=tuple(values),
        digest=sha256("\0\0".join([rules.digest, *said]).encode()).hexdigest()[:16],
    )


@dataclass(frozen=True)
class Contradiction:
    """A made rule, and what `rules.toml` says of the same thing."""

    rule: "MadeRule"
    file_says: str


def contradictions(rules: Rules, made: "Sequence[MadeRule]") -> Iterator[Contradiction]:
    """Yield where the file says otherwise than a made rule, which holds."""
    for rule in made:
        says = said_by_file(rules, rule.kind, rule.key)
        if says is not None and says != rule.value:
            yield Contradiction(rule, says)


def said_by_file(rules: Rules, kind: str, key: str) -> str | None:
    """Return what the file says of the same thing, in the words of a made rule; None where it says nothing."""
    aliases = {RuleKind.CUSTOMER: rules.customer_aliases, RuleKind.METER: rules.event_aliases}
    if kind in aliases:
        found = aliases[RuleKind(kind)].filter(pl.col(ALIAS) == key)
        return None if found.is_empty() else str(found.item(0, TARGET))
    rule = next((one for one in rules.values if one.meter == key), None)
    if rule is None:
        return None
    if kind == RuleKind.VALUE_KEY:
        return rule.column.removeprefix(PAYLOAD_PREFIX) if rule.column else None
    mark = rule.notation.decimal_mark
    return None if mark is None else mark + (rule.thousands or "")


def _with_aliases(aliases: pl.DataFrame, made: "Sequence[MadeRule]", kind: RuleKind) -> pl.DataFrame:
    ours = aliases_of({rule.key: rule.value for rule in made if rule.kind == kind})
    return pl.concat([aliases.join(ours, on=ALIAS, how="anti"), ours]).sort(ALIAS)


def _with_value(values: Sequence[ValueRule], made: "MadeRule") -> list[ValueRule]:
    """Change what is said of the meter; what is said of every meter goes on holding for it beside."""
    base = next((rule for rule in values if rule.meter in {made.key, EVERY_METER}), ValueRule())
    changed = _VALUES[made.kind](base, made.value).model_copy(update={"meter": made.key})
    others = [rule for rule in values if rule.meter != made.key]
    return sorted([changed, *others], key=lambda rule: rule.meter == EVERY_METER)


def _value_key(rule: ValueRule, key: str) -> ValueRule:
    column = key if key.startswith(PAYLOAD_PREFIX) else payload_column(key)
    return rule.model_copy(update={"column": column})


def _decimal_mark(rule: ValueRule, marks: str) -> ValueRule:
    """Read `,` or `,.`: the decimal mark, then the mark between thousands if there is one. Raises ValueError."""
    mark, thousands = marks[:1], marks[1:] or None
    if mark not in _MARKS:
        raise ValueError(f"{mark!r} is no decimal mark")
    changes: dict[str, Any] = {"decimal_comma": mark == ",", "thousands": thousands}
    return ValueRule.model_validate({**rule.model_dump(), **changes})


_VALUES: Final[Mapping[str, Callable[[ValueRule, str], ValueRule]]] = {
    RuleKind.VALUE_KEY: _value_key,
    RuleKind.DECIMAL_MARK: _decimal_mark,
}
