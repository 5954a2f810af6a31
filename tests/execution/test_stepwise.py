"""Stepwise files: what is recorded, where a re-run begins, and what becomes of half-built indexes."""

from __future__ import annotations

import time
from contextlib import closing

import psycopg2
import pytest
from migrator.errors import ChangedSteps, MigrationFailed

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke, Outside
from tests.plugins.waiting import concurrently, is_blocked, wait_until, wait_until_given_way

INDEXES = "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = 't'::regclass ORDER BY 1"


@pytest.fixture
def table(database: Database, outside: Outside) -> Database:
    """Return a database with a table of which one value stands twice."""
    outside("CREATE TABLE t (i int, j int); INSERT INTO t VALUES (1, 1), (1, 2)")
    return database


def progress(database: Database) -> tuple[str, int]:
    """Return state and number of steps done of the only migration."""
    state, steps = database.query("SELECT state, steps FROM db_setup.history")[0]
    return state, steps


def test_resumes_at_the_failed_statement(invoke: Invoke, folder: Folder, table: Database) -> None:
    """What was done stays done and recorded; after the correction the re-run goes on behind it."""
    text = "INSERT INTO t VALUES (5, 5);\nCREATE INDEX CONCURRENTLY t_j ON t (j);\nINSERT INTO t VALUES ('no', 1);\nVACUUM t;\n"
    folder.write("001_x.sql", text)
    with pytest.raises(MigrationFailed) as caught:
        invoke()
    message = str(caught.value)
    assert message.startswith("001_x.sql:3:23  invalid input syntax for type integer")
    assert "2 steps of 001_x.sql, recorded; a re-run goes on at line 3" in message
    assert progress(table) == ("running", 2)
    assert invoke({"action": "status"})["state"] == "pending_migrations"
    folder.write("001_x.sql", text.replace("'no'", "'6'"))
    assert invoke()["applied_migrations"] == ["001_x.sql"]
    assert progress(table) == ("applied", 4)
    assert table.query("SELECT i FROM t ORDER BY i") == [(1,), (1,), (5,), (6,)]


def test_edited_above_the_next_step(invoke: Invoke, folder: Folder, table: Database) -> None:
    """An edit of steps that are done is refused; they were run as they were."""
    folder.write("001_x.sql", "INSERT INTO t VALUES (5, 5);\nVACUUM t;\nSELECT broken;")
    with pytest.raises(MigrationFailed):
        invoke()
    folder.write("001_x.sql", "INSERT INTO t VALUES (6, 6);\nVACUUM t;\nSELECT 1;")
    with pytest.raises(ChangedSteps, match="within its first 2 steps"):
        invoke()
    folder.write("001_x.sql", "INSERT INTO t VALUES (5, 5);")
    with pytest.raises(ChangedSteps, match="within its first 2 steps"):
        invoke()


def test_session_settings_are_made_again(invoke: Invoke, folder: Folder, table: Database) -> None:
    """A re-run makes the settings of the steps it passes over again."""
    folder.write("001_x.sql", "CREATE SCHEMA s;\nSET search_path = s;\nVACUUM;\nCREATE TABLE u (i int);\nSELECT broken;")
    with pytest.raises(MigrationFailed):
        invoke()
    folder.write("001_x.sql", "CREATE SCHEMA s;\nSET search_path = s;\nVACUUM;\nCREATE TABLE u (i int);\nCREATE TABLE v (i int);")
    invoke()
    assert table.query("SELECT to_regclass('s.u') IS NOT NULL, to_regclass('s.v') IS NOT NULL") == [(True, True)]


@pytest.mark.parametrize("clause", ["t_i ON t", "IF NOT EXISTS t_i ON t", '"t_i"on public . t', "ON t"])
def test_failed_build_leaves_no_index(invoke: Invoke, folder: Folder, table: Database, clause: str) -> None:
    """A build that fails takes its invalid index with it; once the data allow it, the index is built."""
    folder.write("001_x.sql", f"CREATE UNIQUE INDEX CONCURRENTLY {clause} (i);")
    with pytest.raises(MigrationFailed, match=r"could not create unique index.*23505"):
        invoke()
    assert table.query(INDEXES) == []
    table.execute("DELETE FROM t WHERE j = 2")
    body = invoke()
    assert [valid for _, valid in table.query(INDEXES)] == [True]
    assert any("was dropped" in warning for warning in body["warnings"]) is False


def test_invalid_index_of_another_session_is_rebuilt(invoke: Invoke, folder: Folder, table: Database) -> None:
    """An invalid index of the name is dropped and built anew, which IF NOT EXISTS would have skipped."""
    with pytest.raises(Exception, match="could not create unique index"):
        table.execute("CREATE UNIQUE INDEX CONCURRENTLY t_i ON t (i)")
    assert table.query(INDEXES) == [("t_i", False)]
    folder.write("001_x.sql", "CREATE INDEX CONCURRENTLY IF NOT EXISTS t_i ON t (i);")
    body = invoke()
    assert table.query(INDEXES) == [("t_i", True)]
    assert any("public.t_i" in warning and "dropped" in warning for warning in body["warnings"])


def test_directive_forces_steps(invoke: Invoke, folder: Folder, database: Database) -> None:
    """-- db_setup: no-transaction on the first line leaves what came before a failure."""
    folder.write("001_x.sql", "-- db_setup: no-transaction\nCREATE TABLE u (i int);\nSELECT broken;")
    with pytest.raises(MigrationFailed, match=r"001_x\.sql:3:8"):
        invoke()
    assert progress(database) == ("running", 1)


def test_lock_timeout_does_not_hold_for_concurrent_builds(
    invoke: Invoke, folder: Folder, table: Database
) -> None:
    """A concurrent build waits for older transactions as long as the run may, and leaves a valid index."""
    other = table.connect()
    other.autocommit = False
    with other.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (9, 9)")
    folder.write("001_x.sql", "CREATE INDEX CONCURRENTLY t_j ON t (j);")

    def leave() -> None:
        wait_until(lambda: is_blocked(table))
        time.sleep(0.3)  # longer than LOCK_TIMEOUT
        assert is_blocked(table)
        other.rollback()

    with concurrently(leave):
        assert invoke(LOCK_TIMEOUT="100ms", MIGRATION_TIMEOUT="20")["success"] is True
    other.close()
    assert table.query(INDEXES) == [("t_j", True)]


def test_lock_met_after_the_server_asked_for_steps(invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """A file that became stepwise on the server's word stays so when it is tried again, forward and back: once each."""
    outside("CREATE TYPE m AS ENUM ('a'); CREATE TABLE t (i int, m m); INSERT INTO t VALUES (0)")
    text = "UPDATE t SET i = i + 1;\nALTER TYPE m ADD VALUE IF NOT EXISTS '{}';\nUPDATE t SET m = '{}';\nALTER TABLE u ADD {} int;"
    database.execute("CREATE TABLE u ()")
    folder.write("001_x.sql", text.format("b", "b", "x"))
    folder.write("001_x.down.sql", text.format("c", "c", "y"))
    for event in ({}, {"action": "rollback", "confirm": True}):
        with closing(database.connect()) as other, other.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE u")

            def leave(cursor: psycopg2.extensions.cursor = cursor) -> None:
                wait_until_given_way(database)
                cursor.execute("COMMIT")

            with concurrently(leave):
                assert invoke(event, LOCK_TIMEOUT="50ms", MIGRATION_TIMEOUT="20")["success"] is True
    assert database.query("SELECT i, m::text FROM t") == [(2, "c")]
    assert database.query("SELECT count(*) FROM db_setup.history") == [(0,)]
