"""The server that is measured against: a database for each run, and the memory of its backends."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Self

from migrator.cli.local_server import LocalServer

from tests.benchmarks.floor import HISTORY
from tests.plugins.postgres import FAST, Database, scratch_folder

# Nothing runs next to what is measured.
SETTINGS = {**FAST, "autovacuum": "off", "max_wal_size": "8GB", "checkpoint_timeout": "1h"}
_SIZE = 6 * 2**30  # bytes
_READ_EVERY = 0.003  # seconds
_READS_PER_SEARCH = 30

_numbers = count(1)


@contextmanager
def running_server() -> Iterator[LocalServer]:
    """Start a server in a folder of its own, and remove both in the end."""
    folder = scratch_folder("db_setup-bench-", _SIZE)
    server = LocalServer(folder / "postgres", SETTINGS)
    try:
        yield server.start()
    finally:
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_database(server: LocalServer) -> Iterator[Database]:
    """Make a database with the floor's history in it, and drop it in the end.

    The first session of a database fills a cache file, so it is not the one that is measured.
    """
    name = f"bench_{next(_numbers)}"
    home = Database(server, "postgres")
    home.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        made = Database(server, name)
        made.execute(HISTORY)
        yield made
    finally:
        home.drop(name)


class BackendMemory:
    """Measures, while a ``with`` block runs, the anonymous memory of the backends of one database.

    Pages of shared buffers that a backend has touched are the server's, not its own, and do not count.
    """

    def __init__(self, server: LocalServer, database: str) -> None:
        self._home = Database(server, "postgres")
        self._database = database
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        with closing(self._home.connect()) as connection, connection.cursor() as cursor:
            pids: list[int] = []
            for number in count():
                if number % _READS_PER_SEARCH == 0:
                    cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", (self._database,))
                    pids = [pid for (pid,) in cursor.fetchall()]
                self.peak = max([self.peak, *map(_anonymous_memory, pids)])
                if self._stop.wait(_READ_EVERY):
                    return


def _anonymous_memory(pid: int) -> int:
    """Return the bytes a process has for itself, 0 when it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0
