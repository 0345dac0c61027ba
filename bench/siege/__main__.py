"""`make siege`: fires at the web and holds it, and prints what came of it. Exits with 1 unless all held."""

import argparse
import sys

from bench.siege import crowds
from bench.siege.siege import lay, told
from bench.siege.web import running

CROWDS = (500, 2_000, 10_000)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.siege", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="fuzzed requests in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--connections", type=int, default=16, help="each fires from a seed of its own")
    parser.add_argument("--no-crowds", action="store_true", help="leave out the crowds of connections")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.connections)
    with running() as web:
        outcome = lay(web, seeds, -(-options.requests // options.connections))
        print(*told(outcome), sep="\n")
    for kind in () if options.no_crowds else ("idle", "dripping"):
        for number in CROWDS:
            with running() as web:
                found = crowds.served(web, kind, number)
            spoken = "none" if found.seconds is None else f"median {found.seconds:.2f} s"
            print(
                f"{number:>6,} {kind} connections: {found.answered} of {crowds.POSTS} posts answered, {spoken}; "
                f"{found.memory:.0f} MiB"
            )
    return 0 if outcome.held else 1


if __name__ == "__main__":
    sys.exit(main())
