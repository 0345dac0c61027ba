"""Where corrected usage goes: a file in the connector's folder, or the meter events API.

Each target makes a submission arrive at most once, also when it is called again after a crash. It imports
`workers.records`, `workers.reports` and `workers.kernel`, and knows neither the Stripe adapter nor the archive:
what it needs of them is handed in. Start at `target.Target`; `files` and `meter_events` are the two that exist.
"""

from workers.targets.target import Chunk, Held, Outgoing, Progress, RefusedRecord, Rows, Sent, Target, Withheld

__all__ = [
    "Chunk",
    "Held",
    "Outgoing",
    "Progress",
    "RefusedRecord",
    "Rows",
    "Sent",
    "Target",
    "Withheld",
]
