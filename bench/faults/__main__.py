"""Plays scenarios and prints what came of them; `--write` puts the table into docs/FAULTS.md."""

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Final

from bench.faults import pressure, report
from bench.faults.broken import VARIANTS
from bench.faults.run import Run, play
from bench.faults.scenarios import SCENARIOS

EVENTS_PER_FILE: Final = 5
"""An import's verdict, reports for two meters and for unknown names, and the verdicts on what is sent again."""


def main(arguments: list[str]) -> int:
    """Return 0 where every run is clean, or, with `--broken`, where every run has caught the variant; else 1."""
    options = _parser().parse_args(arguments)
    # Whoever stops the harness must not leave its processes behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.pressure:
        return _press(options)
    runs = [_play(name, options) for name in options.scenarios or SCENARIOS]
    if options.json:
        print(json.dumps({run.name: run.as_json() for run in runs}, indent=2))
    met = (run.verdict is not None and not run.clean if options.broken else run.clean for run in runs)
    return 0 if all(met) else 1


def _play(name: str, options: argparse.Namespace) -> Run:
    files = -(-options.events // EVENTS_PER_FILE) if options.events else None
    sizes = {"records": options.records, "files": files}
    run = play(name, options.seed, **sizes, broken=options.broken, keep=options.keep)
    print(f"{name}: {json.dumps(run.as_json())}", file=sys.stderr, flush=True)
    if options.write:
        report.note(run, options.seed)
    return run


def _press(options: argparse.Namespace) -> int:
    figures = pressure.measure(options.pressure)
    print(json.dumps(figures, indent=2))
    if options.write:
        report.keep("pressure", figures)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    add = parser.add_argument
    add("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; all by default")
    add("--seed", type=int, default=1)
    add("--records", type=int, help="usage records per scenario")
    add("--events", type=int, help="about so many events of Stripe's; a file leads to some five")
    add("--broken", type=_variants, help=f"variants that must be caught, comma-separated: {', '.join(VARIANTS)}")
    add("--pressure", type=int, metavar="EVENTS", help="instead: drain a queue of so many events")
    add("--write", action="store_true", help="keep the figures and write docs/FAULTS.md")
    add("--keep", type=Path, help="folder that is left for looking at")
    add("--json", action="store_true", help="figures for machines")
    return parser


def _variants(names: str) -> str:
    unknown = set(names.split(",")) - VARIANTS.keys()
    if unknown:
        raise argparse.ArgumentTypeError(f"no variant {unknown.pop()!r}; there are {', '.join(VARIANTS)}")
    return names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
