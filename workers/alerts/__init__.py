"""Telling a person: one notice per case and per trouble, in Slack or printed.

It imports `workers.kernel` only. Start at `messages` (what is said), then `phrases` (the sentences), `slack_blocks`
(how Slack shows them) and `alerts` (the Protocol and who delivers).
"""

from workers.alerts.alerts import Alerts, PrintedAlerts, RecordingAlerts
from workers.alerts.messages import CodeCount, NextStep, Notice, ReasonCount, Trouble
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
