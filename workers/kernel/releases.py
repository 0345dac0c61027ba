"""What another release has written into the ledger, read by this one: while an upgrade rolls on both work."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def known_fields(kind: type[Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands in JSON for the fields of a dataclass; what a later release has added is passed over.

    Only for what people are shown or told. What decides about usage is read whole, or not at all.
    """
    return {field.name: written[field.name] for field in fields(kind) if field.name in written}
