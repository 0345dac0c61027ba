"""`make siege`: fires at the web and holds it, and prints what came of it. Exits with 1 unless all held."""

import argparse
import itertools
import sys

from bench.siege import crowds, proxy
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
    if not options.no_crowds:
        _crowds()
    return 0 if outcome.held else 1


def _crowds() -> None:
    nginx = proxy.installed()
    if nginx is None:
        print("No nginx is installed here: the crowds come without a proxy only.")
    for kind, number in itertools.product(("idle", "dripping"), CROWDS):
        with running() as web:
            print(f"{number:>6,} {kind} connections: {_spoken(crowds.served(web, kind, number))}", flush=True)
        if nginx:
            with running() as web, proxy.proxied(web, nginx) as before:
                print(
                    f"{'behind nginx':>{len(kind) + 20}}: {_spoken(crowds.served(before, kind, number))}",
                    flush=True,
                )


def _spoken(found: crowds.Served) -> str:
    spoken = "none" if found.seconds is None else f"median {found.seconds:.2f} s"
    return f"{found.answered} of {crowds.POSTS} posts answered, {spoken}; {found.memory:.0f} MiB"


if __name__ == "__main__":
    sys.exit(main())
