"""Measure which lines of four packages the tests run, then put faults into these, and fail when too few are noticed."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from tests.mutants.gaps import gaps
from tests.mutants.measured import Measured
from tests.mutants.measurement import measure
from tests.mutants.report import report
from tests.mutants.sample import choose, try_all
from tests.mutants.selection import Selection
from tests.mutants.tree import commit, is_committed


def main() -> int:
    """Return 1 when a line or a branch is not covered, or when too many mutants survive."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("what", choices=("coverage", "sample"), help="the branches that no test takes, or a sample of mutants")
    parser.add_argument("--seed", help="what chooses the sample (the hash of the commit)")
    parser.add_argument("--count", type=int, default=400, help="how many mutants, the same of each package (%(default)s)")
    parser.add_argument("--limit", type=float, default=90, help="the most seconds of tests for one mutant (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time (%(default)s)")
    parser.add_argument("--only", nargs="+", default=[], metavar="WHERE", help="packages, files, or places as file:line")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell has started this in the background
        signal.signal(number, signal.default_int_handler)
    measured = measure(arguments.jobs)
    for test in measured.failing:
        print(f"not used, since it fails as things stand: {test}", file=sys.stderr)
    return _coverage(measured) if arguments.what == "coverage" else _sample(measured, arguments)


def _coverage(measured: Measured) -> int:
    found = gaps(measured.data)
    print("\n".join([*found, f"{len(found)} gaps in the branch coverage"]))
    return 1 if found else 0


def _sample(measured: Measured, arguments: argparse.Namespace) -> int:
    seed = arguments.seed or commit()
    chosen = choose(seed, arguments.count, arguments.only)
    tried = list(try_all(chosen, Selection(measured), arguments.jobs, arguments.limit))
    print(f"commit {commit()}{'' if is_committed() else ' and what is not committed'}, seed {seed}\n")
    text, reached = report(tried)
    print(text)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
