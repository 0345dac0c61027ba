"""Where corrected usage goes: the connector's folder, the meter events API, its stream, Metronome, or a person.

Each target makes a submission arrive at most once, also when it is called again after a crash. It imports
`workers.records`, `workers.reports` and `workers.kernel`, and knows neither the Stripe adapter nor the archive:
what it needs of them is handed in. Start at `target.Target`; `files`, `meter_events`, `meter_event_stream`,
`metronome` and `dashboard` are those that exist. What the called ones have in common is in `chunks`.
"""

from workers.targets.target import (
    Arrived,
    Chunk,
    Held,
    NotCounted,
    Outgoing,
    Progress,
    Proving,
    RefusedRecord,
    Rows,
    Sent,
    Target,
    Withheld,
)

__all__ = [
    "Arrived",
    "Chunk",
    "Held",
    "NotCounted",
    "Outgoing",
    "Progress",
    "Proving",
    "RefusedRecord",
    "Rows",
    "Sent",
    "Target",
    "Withheld",
]
