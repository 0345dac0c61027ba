"""How refused records are repaired: one file per code in `codes`, and the engine that applies them.

It imports `workers.reports`, `workers.records` and `workers.kernel`; beside records it reads the operator's rules.
Start with `codes.no_meter` (the plainest remedy), then `engine.repair_frame` (records -> outcomes). A code without
a remedy is put before a person.
"""

from workers.remedies.codes import REMEDIES
from workers.remedies.engine import repair_frame
from workers.remedies.lookups import customers_to_look_up, metadata_queries
from workers.remedies.made_rules import with_made
from workers.remedies.remedy import Remedy, RepairContext
from workers.remedies.rules import Rules, RulesFile, load_rules, parse_rules

__all__ = [
    "REMEDIES",
    "Remedy",
    "RepairContext",
    "Rules",
    "RulesFile",
    "customers_to_look_up",
    "load_rules",
    "metadata_queries",
    "parse_rules",
    "repair_frame",
    "with_made",
]
