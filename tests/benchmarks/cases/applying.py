"""Small files applied, one transaction each: over a network with some distance, and with none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from migrator.cli.local_server import LocalServer

from tests.benchmarks.figures import Figure
from tests.benchmarks.folders import folder_of_tables
from tests.benchmarks.processes import ENTRY_POINTS, Command, Cost, compare, floor, interleave
from tests.benchmarks.server import new_database
from tests.plugins.postgres import Database
from tests.plugins.proxy import Proxy

_DELAY = 0.001  # seconds each way
_MOST_FAR, _MOST_NEAR = 1.5, 1.2

Entry = Callable[[str, Path], Command]


def measure_far(server: LocalServer, *, quick: bool) -> Iterator[Figure]:
    """Measure 100 files through a proxy that adds a millisecond each way."""
    with folder_of_tables(100) as folder:
        run = partial(_run_far, server, folder)
        yield from _figures("100 files, 1 ms away", run, 3 if quick else 11, _MOST_FAR)


def measure_near(server: LocalServer, *, quick: bool) -> Iterator[Figure]:
    """Measure 1,000 files on the server's own machine."""
    with folder_of_tables(1_000) as folder:
        run = partial(_run_near, server, folder)
        yield from _figures("1,000 files", run, 3 if quick else 9, _MOST_NEAR)


def _figures(case: str, run: Callable[[Entry], Cost], rounds: int, limit: float) -> Iterator[Figure]:
    subjects = {name: partial(run, entry) for name, entry in ENTRY_POINTS.items()}
    for name, pairs in interleave(partial(run, floor), subjects, rounds).items():
        found = compare(pairs, lambda cost: cost.wall)
        yield Figure(case, name, "time", "ms", found.measured, limit, found.floor, found.ratio)


def _run_far(server: LocalServer, folder: Path, entry: Entry) -> Cost:
    with new_database(server) as database, Proxy(server, _DELAY) as proxy:
        cost = entry(proxy.url(database.name), folder).run()
        _check(database, folder)
    return cost


def _run_near(server: LocalServer, folder: Path, entry: Entry) -> Cost:
    with new_database(server) as database:
        cost = entry(database.url, folder).run()
        _check(database, folder)
    return cost


def _check(database: Database, folder: Path) -> None:
    """Make sure that the time was not so short because nothing was done."""
    tables = database.query(r"SELECT count(*) FROM pg_tables WHERE tablename LIKE 'orders\_%'")[0][0]
    if tables != len(list(folder.iterdir())):
        raise RuntimeError(f"only {tables} migrations were applied")
