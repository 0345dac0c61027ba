"""Runs the sections that are named, or all of them."""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from bench import locate, pages, queue, records, scrape, uploads, way
from bench.faults import section as faults
from bench.intake import section as intake
from bench.machines import section as machines

SECTIONS: Final[Mapping[str, Callable[..., dict[str, Any]]]] = {
    "records": records.run,
    "faults": faults.run,
    "machines": machines.run,
    "queue": queue.run,
    "way": way.run,
    "scrape": scrape.run,
    "locate": locate.run,
    "uploads": uploads.run,
    "pages": pages.run,
    "intake": intake.run,
}


def main(arguments: list[str]) -> int:
    """Print each section's table, or with `--json` one document of all figures."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--full", action="store_true", help="the large sizes, too: minutes, and some GB of disk")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each task; the median counts")
    parser.add_argument("--json", action="store_true", help="figures for machines")
    options = parser.parse_args(arguments)
    # Whoever stops the bench must not leave its processes behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    unknown = [name for name in options.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    figures = {
        name: SECTIONS[name](full=options.full, rounds=options.rounds, quiet=options.json)
        for name in options.sections or SECTIONS
    }
    if options.json:
        print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
