"""Telling a person: of an incident, of trouble, of what was held back; in Slack or printed.

It imports `workers.kernel` only. Start at `messages` (what is said), then `phrases` (the sentences), `alerts` (the
Protocol, and the terminal), `slack` (the looks, and the incoming webhook) and `slack_bot`.
"""

from workers.alerts.alerts import Alerts, PrintedAlerts
from workers.alerts.messages import Alert, CodeCount, Digest, NextStep, Notice, ReasonCount, Trouble
from workers.alerts.slack import SlackAlerts
from workers.alerts.slack_bot import SlackBot

__all__ = [
    "Alert",
    "Alerts",
    "CodeCount",
    "Digest",
    "NextStep",
    "Notice",
    "PrintedAlerts",
    "ReasonCount",
    "SlackAlerts",
    "SlackBot",
    "Trouble",
]
