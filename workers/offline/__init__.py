"""`check`, `repair` and `rules` on files, without a service: no module of the service imports it.

It imports `workers.remedies`, `workers.reports`, `workers.records` and `workers.kernel`, never `workers.pipeline`,
and reads nothing but the files it is given. Start with `repair_files.plan_file` (files -> corrected, deferred,
quarantined); `survey` looks at whole files first, `output_folder` writes the results.
"""
