"""Fresh, empty databases: pytest-postgresql's fixtures on the session's server, and their use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import psycopg
import psycopg2
import pytest
from migrator.cli.local_server import LocalServer, find_binaries
from pytest_postgresql import factories


class Access(NamedTuple):
    """The session's server as pytest-postgresql wants to be told of one."""

    host: str
    port: str
    user: str
    password: str | None = None
    options: str = ""
    maintenance_dbname: str = "postgres"
    template_dbname: str = "template0"


class Database:
    """A database of one test's own."""

    def __init__(self, server: LocalServer, name: str) -> None:
        self.name = name
        self.parameters = {**server.parameters, "dbname": name}
        self.url = f"postgresql://{server.parameters['user']}@/{name}?host={quote(str(server.socket_folder))}"

    def connect(self) -> psycopg2.extensions.connection:
        """Return a new connection in autocommit mode, for the caller to close."""
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        return connection

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


_LEFT_OUT = ("\\restrict", "\\unrestrict", "SET transaction_timeout")  # the last: older servers do not know it
MakeDatabase = Callable[..., Database]
Dump = Callable[..., str]


@pytest.fixture(scope="session")
def server_access(server: LocalServer) -> Access:
    """Hand the session's server to pytest-postgresql."""
    return Access(server.parameters["host"], server.parameters["port"], server.parameters["user"])


# One template for each worker, from which the database of each test is copied.
postgresql_server = factories.postgresql_noproc(dbname="test", depends_on="server_access")
postgresql = factories.postgresql("postgresql_server")


@pytest.fixture
def database(postgresql: psycopg.Connection[tuple[Any, ...]], server: LocalServer) -> Database:
    """Return an empty database that is dropped after the test, whoever is still connected to it."""
    name = postgresql.info.dbname
    postgresql.close()  # a test counts the sessions that it opens
    return Database(server, name)


@pytest.fixture
def make_database(server: LocalServer) -> Iterator[MakeDatabase]:
    """Make further databases; the options of CREATE DATABASE make special ones."""
    home = Database(server, "postgres")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    names = (f"test{worker}_{number}" for number in count(1))
    made: list[str] = []

    def make(options: str = "TEMPLATE template0") -> Database:
        made.append(name := next(names))
        home.execute(f"CREATE DATABASE {name} {options}")
        return Database(server, name)

    yield make
    for name in made:
        home.drop(name)


def pg_dump_for(server: LocalServer) -> Path:
    """Return the server's pg_dump, or that of the newest server found: it dumps all older ones."""
    own = server.binaries.program("pg_dump")
    return own if own.exists() else find_binaries({}).program("pg_dump")


@pytest.fixture(scope="session")
def pg_dump(server: LocalServer) -> Dump:
    """Return what pg_dump says of a database, without the lines that differ from one dump to the next."""

    def dump(database: Database, *arguments: str) -> str:
        command = [str(pg_dump_for(server)), *arguments, f"--dbname={database.url}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return "\n".join(line for line in done.stdout.splitlines() if not line.startswith(_LEFT_OUT))

    return dump
