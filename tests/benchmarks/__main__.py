"""Measure everything, print one table, and fail when a target is missed."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version

from migrator.cli.local_server import LocalServer

from tests.benchmarks.cases import applying, large_file, life, nothing_to_do, start, synth
from tests.benchmarks.figures import Figure, table
from tests.benchmarks.server import running_server

CASES: dict[str, Callable[..., Iterator[Figure]]] = {
    "start": start.measure,
    "nothing": nothing_to_do.measure,
    "far": applying.measure_far,
    "near": applying.measure_near,
    "large": large_file.measure,
    "life": life.measure,
    "synth": synth.measure,
}


def main() -> int:
    """Return 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    names = f"one of: {', '.join(CASES)}"
    parser.add_argument("--only", choices=CASES, action="append", metavar="NAME", help=names)
    parser.add_argument("--quick", action="store_true", help="a small sample, to see that it works")
    arguments = parser.parse_args()
    with running_server() as server:
        print(_place(server), file=sys.stderr)
        figures = list(_measure(server, arguments.only or list(CASES), quick=arguments.quick))
    print(table(figures))
    return 0 if all(figure.met for figure in figures) else 1


def _measure(server: LocalServer, names: list[str], *, quick: bool) -> Iterator[Figure]:
    for name in names:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        yield from CASES[name](server, quick=quick)


def _place(server: LocalServer) -> str:
    driver = version("psycopg2-binary")
    return f"{server.binaries}; Python {platform.python_version()}; psycopg2 {driver}; {os.cpu_count()} processors"


if __name__ == "__main__":
    sys.exit(main())
