"""The fault harness: real processes on the twin, real faults, and the truth about what was billed afterwards.

`python -m bench.faults --seed 1` plays every scenario of `scenarios.SCENARIOS` and writes docs/FAULTS.md; `--help`
lists the rest. A scenario is a function over a `Stage`: a running house (`house.py`), a sender (`usage.py`) and
seeded dice. What came of it is judged in `truth.py`, from the twin's books and the ledger, against what the sender
meant. `crash_points.py` stops a worker at each transition of the ledger; `broken.py` has variants of the product
that must be caught. May import all of workers and nothing of tests.
"""
