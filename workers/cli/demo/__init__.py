"""`metermend demo`: a company's bad day, played through the whole loop with real processes.

Start at `command`, which also watches the ledger; `stage` starts the processes, `report` prints what came of it.
"""
