"""Nothing to do, which is what most deploys find: the CPU it takes, and its waits for the network."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from migrator.cli.local_server import LocalServer

from tests.benchmarks.figures import Figure
from tests.benchmarks.folders import folder_of_nothing
from tests.benchmarks.processes import ENTRY_POINTS, Run, compare, floor, handler, interleave
from tests.benchmarks.server import new_database
from tests.plugins.postgres import Database
from tests.plugins.proxy import Proxy

_ROUNDS = {100: 25, 1_000: 15, 10_000: 9}
# The floor imports no typing (4 ms with its named tuples, where boto3 does it anyway), and takes no signals (2 ms).
_MOST_CPU = {"handler": 1.4, "command line": 1.6}
_MOST_WAITS = 5


def measure(server: LocalServer, *, quick: bool) -> Iterator[Figure]:
    """Measure with 100, 1,000 and 10,000 files."""
    for number, rounds in _ROUNDS.items():
        if quick and number > 1_000:
            continue
        with folder_of_nothing(number) as folder, new_database(server) as database:
            handler(database.url, folder).run()
            database.execute("INSERT INTO db_setup.floor_history SELECT name, checksum FROM db_setup.history")
            database.execute("VACUUM ANALYZE")
            yield from _cpu(database.url, folder, number, 5 if quick else rounds)
            yield from _waits(server, database, folder, number)


def _cpu(url: str, folder: Path, number: int, rounds: int) -> Iterator[Figure]:
    subjects: dict[str, Run] = {name: entry(url, folder).run for name, entry in ENTRY_POINTS.items()}
    for name, pairs in interleave(floor(url, folder).run, subjects, rounds).items():
        found = compare(pairs, lambda cost: cost.cpu)
        case = f"nothing to do, {number:,} files"
        yield Figure(case, name, "CPU", "ms", found.measured, _MOST_CPU[name], found.floor, found.ratio)


def _waits(server: LocalServer, database: Database, folder: Path, number: int) -> Iterator[Figure]:
    figure = partial(Figure, f"nothing to do, {number:,} files", what="waits on the network", unit="")
    for name, entry in ENTRY_POINTS.items():
        with Proxy(server) as floors, Proxy(server) as measured:
            floor(floors.url(database.name), folder).run()
            entry(measured.url(database.name), folder).run()
            yield figure(entry_point=name, measured=measured.waits, limit=_MOST_WAITS, floor=floors.waits)
