"""What Stripe tells about refused usage, read tolerantly: nothing here decides, and nothing unknown is dropped.

Pure: it imports `workers.records` and `workers.kernel`. `import_set` and `error_report` read the events,
`failed_records` the file that lists the rows of an import that were refused. Start with `import_set.read`.
"""
