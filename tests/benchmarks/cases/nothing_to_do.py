"""Nothing to do, which is what most deploys find: the CPU it takes, and its waits for the network."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.benchmarks.figures import Figure
from tests.benchmarks.folders import folder_of_nothing
from tests.benchmarks.processes import DOORS, Run, compare, floor, handler, interleave
from tests.benchmarks.proxy import Proxy
from tests.benchmarks.server import Server

_ROUNDS = {100: 25, 1_000: 15, 10_000: 9}
_MOST_CPU = 1.3
_MOST_WAITS = 5


def measure(server: Server, *, quick: bool) -> Iterator[Figure]:
    """Measure with 100, 1,000 and 10,000 files."""
    for number, rounds in _ROUNDS.items():
        if quick and number > 1_000:
            continue
        with folder_of_nothing(number) as folder, server.database() as database:
            handler(server.url(database), folder).run()
            server.query("INSERT INTO db_setup.floor_history SELECT name, checksum FROM db_setup.history", database)
            server.query("VACUUM ANALYZE", database)
            yield from _cpu(server, database, folder, number, 5 if quick else rounds)
            yield from _waits(server, database, folder, number)


def _cpu(server: Server, database: str, folder: Path, number: int, rounds: int) -> Iterator[Figure]:
    url = server.url(database)
    subjects: dict[str, Run] = {name: door(url, folder).run for name, door in DOORS.items()}
    for name, pairs in interleave(floor(url, folder).run, subjects, rounds).items():
        found = compare(pairs, lambda cost: cost.cpu)
        case = f"nothing to do, {number:,} files"
        yield Figure(case, name, "CPU", "ms", found.measured, _MOST_CPU, found.floor, found.ratio)


def _waits(server: Server, database: str, folder: Path, number: int) -> Iterator[Figure]:
    figure = partial(Figure, f"nothing to do, {number:,} files", what="waits on the network", unit="")
    for name, door in DOORS.items():
        with Proxy(server.socket_file) as floors_way:
            floor(server.url_through(floors_way.port, database), folder).run()
        with Proxy(server.socket_file) as way:
            door(server.url_through(way.port, database), folder).run()
        yield figure(door=name, measured=way.waits, limit=_MOST_WAITS, floor=floors_way.waits)
