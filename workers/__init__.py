"""Everything after the 200: from a stored event to usage that Stripe has counted.

Packages from the top down: `cli`, `jobs` and `schedule` (entry points), `bootstrap` (builds the adapters),
`pipeline` and `sweeper` (the loop), `remedies`, the adapters (`stripe_api`, `sources`, `targets`, `alerts`,
`archive`), `reports` and `records` (pure), `kernel` (shared with the web). Start reading at `workers.pipeline`.
"""
