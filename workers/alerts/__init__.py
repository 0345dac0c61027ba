"""Telling a person: one notice per case and per trouble, in Slack or printed.

It imports `workers.kernel` only. Start at `notice` (what is said), then `wording` (the sentences), `blocks` (how
Slack shows them) and `alerts` (the Protocol and who delivers).
"""

from workers.alerts.alerts import Alerts, PrintedAlerts, RecordingAlerts
from workers.alerts.notice import CodeCount, NextStep, Notice, ReasonCount, Trouble
from workers.alerts.slack import SlackAlerts

__all__ = [
    "Alerts",
    "CodeCount",
    "NextStep",
    "Notice",
    "PrintedAlerts",
    "ReasonCount",
    "RecordingAlerts",
    "SlackAlerts",
    "Trouble",
]
