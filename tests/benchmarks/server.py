"""The server that is measured against: a database for each run, an eye on the memory of its backends."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg2
from migrator.cli.local_server import LocalServer

from tests.benchmarks.floor import HISTORY

# Without waiting for the disk, which would hide what the runner costs; nothing runs beside what is measured.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
}
_ROOM = 6 * 2**30  # bytes; a container's memory file system is often small
_LOOK_EVERY = 0.003  # seconds
_LOOKS_PER_SEARCH = 30


class Server:
    """A server of the benchmarks' own."""

    def __init__(self, local: LocalServer) -> None:
        self._local = local
        self._numbers = count(1)

    @property
    def socket_file(self) -> str:
        """The path of its Unix socket."""
        return str(self._local.socket_folder / ".s.PGSQL.5432")

    @property
    def psql(self) -> Path:
        """The psql that belongs to it, or the one on PATH where only a server is installed."""
        own = self._local.binaries.program("psql")
        return own if own.exists() else Path(shutil.which("psql") or "psql")

    def __str__(self) -> str:
        return str(self._local.binaries)

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@/{database}?host={quote(str(self._local.socket_folder))}"

    def url_through(self, port: int, database: str) -> str:
        """Return the URL of a database behind a proxy."""
        return f"postgresql://postgres@127.0.0.1:{port}/{database}"

    def query(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements in a session of their own and return the rows of the last."""
        with closing(psycopg2.connect(self.url(database))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make a database with the floor's history in it, and drop it in the end.

        The first session of a database fills a cache file, so it is not the one that is measured.
        """
        name = f"bench_{next(self._numbers)}"
        self.query(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            self.query(HISTORY, name)
            yield name
        finally:
            self.query(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server in a folder of its own, in memory where there is enough, and remove both in the end."""
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp is used
    fits = os.access(memory, os.W_OK | os.X_OK) and shutil.disk_usage(memory).free > _ROOM
    folder = Path(tempfile.mkdtemp(prefix="db_setup-bench-", dir=memory if fits else None))
    folder.chmod(0o711)  # the server's account passes through when root runs the benchmarks
    local = LocalServer(folder / "postgres", SETTINGS)
    try:
        yield Server(local.start())
    finally:
        local.remove()
        shutil.rmtree(folder, ignore_errors=True)


class BackendMemory:
    """Watches, while a ``with`` block runs, the anonymous memory of the backends of one database.

    Pages of shared buffers that a backend has touched are the server's, not its own, and do not count.
    """

    def __init__(self, server: Server, database: str) -> None:
        self._server = server
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
        with closing(psycopg2.connect(self._server.url("postgres"))) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            pids: list[int] = []
            for look in count():
                if look % _LOOKS_PER_SEARCH == 0:
                    cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", (self._database,))
                    pids = [pid for (pid,) in cursor.fetchall()]
                self.peak = max([self.peak, *map(_anonymous_memory, pids)])
                if self._stop.wait(_LOOK_EVERY):
                    return


def _anonymous_memory(pid: int) -> int:
    """Return the bytes a process has for itself, 0 when it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0
