"""What the figures of docs/PERFORMANCE.md is made with: `python -m bench [SECTION…] [--full] [--json]`.

Each section measures by processes of its own and reports ratios inside one run, since machines differ. Sections are
listed in `__main__`; start with `records`, the repair engine.
"""
