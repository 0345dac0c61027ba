"""How refused records are repaired: one file per code, and the engine that applies them and plans a file.

It imports `workers.reports`, `workers.records` and `workers.kernel`, and reads nothing but the files it is given.
Start with `no_meter` (the plainest remedy), then `repair.repair_frame` (records -> outcomes) and `plan.plan_file`
(files -> corrected, deferred, quarantined). Adding a code: copy `archived_meter.py`, edit it, register it in
`registry.REMEDIES`, and name its aspect in `records.diagnosis`. A code without a remedy is quarantined.
"""

from workers.remedies.lookups import customers_to_look_up, metadata_queries
from workers.remedies.plan import PlanOptions, PlanSummary, plan_file
from workers.remedies.registry import REMEDIES
from workers.remedies.remedy import Context, Remedy
from workers.remedies.repair import repair_frame
from workers.remedies.rules import Rules, load_rules, parse_rules
from workers.remedies.rules_file import RulesFile

__all__ = [
    "REMEDIES",
    "Context",
    "PlanOptions",
    "PlanSummary",
    "Remedy",
    "Rules",
    "RulesFile",
    "customers_to_look_up",
    "load_rules",
    "metadata_queries",
    "parse_rules",
    "plan_file",
    "repair_frame",
]
