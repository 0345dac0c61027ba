"""Telling a person: one notice per case and per trouble, in Slack or printed.

It imports `workers.kernel` only. Start at `messages` (what is said), then `phrases` (the sentences), `alerts` (the
Protocol, and the terminal) and `slack`.
"""

from workers.alerts.alerts import Alerts, PrintedAlerts
from workers.alerts.messages import CodeCount, NextStep, Notice, ReasonCount, Trouble
from workers.alerts.slack import SlackAlerts

__all__ = [
    "Alerts",
    "CodeCount",
    "NextStep",
    "Notice",
    "PrintedAlerts",
    "ReasonCount",
    "SlackAlerts",
    "Trouble",
]
