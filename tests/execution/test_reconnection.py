"""A lost connection is made again, and the run goes on where the history says."""

from __future__ import annotations

import pytest
from migrator.errors import ConnectionLost, MigrationFailed

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.proxy import FRONTEND, Proxy
from tests.plugins.runs import Invoke, Outside

ONCE = "SELECT CASE WHEN nextval('once') = 1 THEN pg_terminate_backend(pg_backend_pid()) END;"
"""Ends its own session, the first time: what a sequence has given is not rolled back."""


def test_migrate_goes_on(invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """The file at work is run again on another connection, and those after it follow."""
    outside("CREATE SEQUENCE once")
    invoke({"action": "baseline", "target_revision": "none", "confirm": True})
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", f"{ONCE} CREATE TABLE b (i int);")
    folder.write("003_c.sql", "CREATE TABLE c (i int);")
    body = invoke()
    assert body["applied_migrations"] == ["001_a.sql", "002_b.sql", "003_c.sql"]
    assert database.query("SELECT outcome FROM db_setup.runs WHERE action = 'migrate' ORDER BY id") == [
        ("running",), ("succeeded",),
    ]  # fmt: skip


def test_rollback_goes_on(invoke: Invoke, folder: Folder, database: Database) -> None:
    """So does a rollback."""
    folder.write("001_a.sql", "CREATE SEQUENCE once;")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    folder.write("002_b.down.sql", f"{ONCE} DROP TABLE b;")
    invoke()
    body = invoke({"action": "rollback", "confirm": True})
    assert body["rolled_back_migrations"] == ["002_b.sql"]
    assert database.query("SELECT to_regclass('b')") == [(None,)]


def test_connection_that_is_lost_each_time(invoke: Invoke, folder: Folder) -> None:
    """In the end the run fails, and says what it has applied."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "SELECT pg_terminate_backend(pg_backend_pid());")
    with pytest.raises(ConnectionLost) as caught:
        invoke()
    body = caught.value.body()
    assert (body["applied_migrations"], body["failed_migration"]) == (["001_a.sql"], "002_b.sql")


def test_server_that_does_not_come_back(invoke: Invoke, folder: Folder, database: Database, proxy: Proxy) -> None:
    """Where no other connection can be had within the time of the run, it ends as one that has lost its connection."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    proxy.arm(FRONTEND, 7, before=True, strike=lambda: next(proxy.folder.iterdir()).unlink())
    with pytest.raises(ConnectionLost):
        invoke(DATABASE_URL=proxy.url(database.name), MIGRATION_TIMEOUT="3")
    assert database.query("SELECT name FROM db_setup.history") == [("001_a.sql",)]
    assert invoke()["applied_migrations"] == ["002_b.sql"]


@pytest.mark.parametrize("state", ["08000", "08001", "08003", "08006", "57P01", "57P03"])
@pytest.mark.parametrize("stepwise", ["", "-- db_setup: no-transaction\n"], ids=["transaction", "stepwise"])
def test_connection_of_a_statement_is_not_that_of_the_run(
    invoke: Invoke, folder: Folder, database: Database, state: str, stepwise: str
) -> None:
    """A statement that fails to reach another server, as dblink does, is refused with its line, and not run again."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write(
        "002_b.sql",
        f"{stepwise}INSERT INTO a VALUES (1);\n"
        f"DO $$ BEGIN RAISE EXCEPTION 'could not establish connection' USING ERRCODE = '{state}'; END $$;",
    )
    with pytest.raises(MigrationFailed) as caught:
        invoke()
    assert (caught.value.sqlstate, caught.value.where and caught.value.where.line) == (state, 3 if stepwise else 2)
    assert database.query("SELECT count(*) FROM a") == [(1 if stepwise else 0,)]
    assert database.query("SELECT outcome FROM db_setup.runs") == [("failed",)]
