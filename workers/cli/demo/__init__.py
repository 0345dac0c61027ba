"""`metermend demo`: a company's bad day, played through the whole loop with real processes.

Start at `command`; `stage` starts the processes, `watch` waits until the loop has come to rest, `report` prints
what came of it. `cli_acts` then types what the Stripe CLI can trigger, by `stripe_cli`.
"""
