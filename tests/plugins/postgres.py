"""Servers for tests and benchmarks, and a database on one of them. It does without pytest, which benchmarks measure without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
from migrator.cli.local_server import LocalServer, find_binaries

# Waits for the end of its input, which comes however the session ends, and removes every server in the folder.
_GUARD = """
import pathlib, shutil, sys
sys.stdin.read()
sys.path.insert(0, sys.argv[1])
from migrator.cli.local_server import LocalServer
scratch = pathlib.Path(sys.argv[2])
for lock in [*scratch.rglob("postgres.lock"), *scratch.rglob("postmaster.pid")]:
    folder = lock.with_name("postgres") if lock.name == "postgres.lock" else lock.parent.parent
    if folder.exists():
        LocalServer(folder).remove()
shutil.rmtree(scratch)
"""
_PRODUCT = Path(__file__).resolve().parents[2] / "db_setup"
# Nothing of a test's data has to survive a power cut.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def scratch_folder(prefix: str, size: int) -> Path:
    """Make a folder for servers, in memory where that many bytes are free: a busy disk is slow."""
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp is used
    fits = os.access(memory, os.W_OK | os.X_OK) and shutil.disk_usage(memory).free > size
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=memory if fits else None))
    folder.chmod(0o711)  # the server's account passes through when root runs the tests
    return folder


def guard(scratch: Path) -> subprocess.Popen[bytes]:
    """Have a folder and the servers in it removed when this process ends, killed or not; ``communicate`` waits for it."""
    command = [sys.executable, "-c", _GUARD, str(_PRODUCT), str(scratch)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def client_program(server: LocalServer, name: str) -> Path:
    """Return the server's own psql or pg_dump, that of the newest server found, which serves all older ones, or PATH's."""
    for found in (server.binaries.program(name), find_binaries({}).program(name)):
        if found.exists():
            return found
    return Path(shutil.which(name) or name)


class Database:
    """A database of one's own."""

    def __init__(self, server: LocalServer, name: str) -> None:
        self.name = name
        self.parameters = {**server.parameters, "dbname": name}
        self.url = f"postgresql://{server.parameters['user']}@/{name}?host={quote(str(server.socket_folder))}"

    def connect(self) -> psycopg2.extensions.connection:
        """Return a new connection in autocommit mode, for the caller to close."""
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        return connection

    def major(self) -> int:
        """Return the major version of the server."""
        return int(self.query("SELECT current_setting('server_version_num')::int / 10000")[0][0])

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run one query in a session of its own and return its rows."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return cursor.fetchall()

    def execute(self, sql: str, *parameters: object) -> None:
        """Run statements in a session of their own."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)

    def drop(self, name: str) -> None:
        """Drop another database, whoever is in it; PostgreSQL 12 has no WITH (FORCE)."""
        quoted = '"' + name.replace('"', '""') + '"'
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            cursor.execute(f"DROP DATABASE IF EXISTS {quoted}")
