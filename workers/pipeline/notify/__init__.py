"""Telling a person: one message for each incident, however many cases it has, and of what broke.

Work only writes down what is to be said: `tell` in the case's incident, `trouble` among the troubles. The clock
says it (`deliver`), so that no case waits for Slack, and what Slack does not take is said later.
"""

from workers.pipeline.notify.case_status import tell
from workers.pipeline.notify.deliver import deliver
from workers.pipeline.notify.troubles import trouble

__all__ = ["deliver", "tell", "trouble"]
