"""Fresh, empty databases: pytest-postgresql's fixtures on the session's server, and their use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple

import psycopg
import pytest
from migrator.cli.local_server import LocalServer
from pytest_postgresql import factories

from tests.plugins.postgres import Database, client_program

__all__ = ["Access", "Database", "Dump", "MakeDatabase"]


class Access(NamedTuple):
    """The session's server as pytest-postgresql wants to know one."""

    host: str
    port: str
    user: str
    password: str | None = None
    options: str = ""
    maintenance_dbname: str = "postgres"
    template_dbname: str = "template0"


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


@pytest.fixture(scope="session")
def pg_dump(server: LocalServer) -> Dump:
    """Return what pg_dump says of a database, without the lines that differ from one dump to the next.

    Which session had the run lock last is left out, too.
    """

    def dump(database: Database, *arguments: str) -> str:
        options = ("--exclude-table-data=db_setup.run_lock", *arguments)
        command = [str(client_program(server, "pg_dump")), *options, f"--dbname={database.url}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return "\n".join(line for line in done.stdout.splitlines() if not line.startswith(_LEFT_OUT))

    return dump
