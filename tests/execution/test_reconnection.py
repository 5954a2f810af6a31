"""A lost connection is made again, and the run goes on where the history says."""

from __future__ import annotations

import pytest
from migrator.errors import ConnectionLost

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
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
