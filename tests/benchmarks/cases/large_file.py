"""One large file of INSERTs: memory on both sides, and the time against psql's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from migrator.cli.local_server import LocalServer

from tests.benchmarks.figures import Figure
from tests.benchmarks.folders import folder_of_rows
from tests.benchmarks.processes import ENTRY_POINTS, Command, Cost, compare, interleave
from tests.benchmarks.server import BackendMemory, new_database
from tests.plugins.postgres import Database, client_program

_MEGABYTE = 2**20
_MOST_CLIENT, _MOST_BACKEND = 64 * _MEGABYTE, 32 * _MEGABYTE
_MOST_TIME = 1.0
_FEWEST_ROWS = 100_000  # in 10 MB


def measure(server: LocalServer, *, quick: bool) -> Iterator[Figure]:
    """Measure a file of 100 MB with about a million rows."""
    size = 10 if quick else 100
    with folder_of_rows(size * _MEGABYTE) as folder:
        measured = _Measured(server, folder)
        subjects = {name: partial(measured.entry, name) for name in ENTRY_POINTS}
        for name, pairs in interleave(measured.psql, subjects, 1 if quick else 3).items():
            figure = partial(Figure, f"one file of {size} MB", name)
            memory = compare(pairs, lambda cost: cost.memory)
            backend = measured.backends
            yield figure("memory", "MB", max(memory.subjects), _MOST_CLIENT, memory.floor)
            yield figure("memory, backend", "MB", backend[name], _MOST_BACKEND, backend["psql"])
            time = compare(pairs, lambda cost: cost.wall)
            yield figure("time (psql -1)", "s", time.measured, _MOST_TIME, time.floor, time.ratio)


class _Measured:
    """Runs while the backend's memory is measured; its highest peak is stored by the name of the client."""

    def __init__(self, server: LocalServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self.backends: dict[str, int] = {}

    def psql(self) -> Cost:
        with new_database(self._server) as database:
            words = [str(client_program(self._server, "psql")), "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1"]
            words += ["-d", database.url, "-f", *map(str, self._folder.iterdir())]
            return self._watched("psql", database, Command(words))

    def entry(self, name: str) -> Cost:
        with new_database(self._server) as database:
            return self._watched(name, database, ENTRY_POINTS[name](database.url, self._folder))

    def _watched(self, name: str, database: Database, command: Command) -> Cost:
        with BackendMemory(self._server, database.name) as memory:
            cost = command.run()
        if database.query("SELECT count(*) FROM payments")[0][0] < _FEWEST_ROWS:
            raise RuntimeError(f"{name} has not loaded the file")
        self.backends[name] = max(self.backends.get(name, 0), memory.peak)
        return cost
