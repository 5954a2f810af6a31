"""Repeatable files: when they run, in which order, and what they are not taken for."""

from __future__ import annotations

import pytest
from migrator.errors import MigrationFailed

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke

VIEW, OTHER = "repeatable/a_view.sql", "repeatable/b_view.sql"


@pytest.fixture
def views(folder: Folder) -> Folder:
    """Return a folder with a table, a view on it, and a view on the view."""
    (folder.path / "repeatable").mkdir()
    folder.write("001_t.sql", "CREATE TABLE t (i int);")
    folder.write(VIEW, "CREATE OR REPLACE VIEW a AS SELECT 1 AS one FROM t;")
    folder.write(OTHER, "CREATE OR REPLACE VIEW b AS SELECT * FROM a;")
    return folder


def names(database: Database) -> list[str]:
    """Return the names in the history, in the order of application."""
    return [name for (name,) in database.query("SELECT name FROM db_setup.history ORDER BY position")]


def test_run_when_changed(invoke: Invoke, views: Folder, database: Database) -> None:
    """They run after the numbered files, and again when, and only when, their text is another."""
    body = invoke()
    assert (body["applied_migrations"], body["warnings"]) == (["001_t.sql", VIEW, OTHER], [])
    assert invoke()["state"] == "up_to_date"
    views.write(VIEW, "CREATE OR REPLACE VIEW a AS SELECT 2 AS one FROM t;\r\n")
    views.write("002_u.sql", "INSERT INTO t VALUES (1);")
    status = invoke({"action": "status"})
    assert (status["state"], status["pending_migrations"]) == ("pending_migrations", ["002_u.sql", VIEW])
    body = invoke()
    assert (body["applied_migrations"], body["final_revision"]) == (["002_u.sql", VIEW], "002")
    assert database.query("SELECT one FROM b") == [(2,)]
    assert names(database) == ["001_t.sql", OTHER, "002_u.sql", VIEW]
    assert invoke()["applied_migrations"] == []


def test_failure_keeps_the_earlier_text(invoke: Invoke, views: Folder, database: Database) -> None:
    """When the new text fails, the view and the record of the old one stay."""
    invoke()
    views.write(VIEW, "DROP VIEW b;\nDROP VIEW nowhere;")
    with pytest.raises(MigrationFailed, match=r"^repeatable/a_view\.sql:2:"):
        invoke()
    assert database.query("SELECT count(*) FROM b") == [(0,)]
    assert len(names(database)) == 3


def test_older_package(invoke: Invoke, views: Folder, database: Database) -> None:
    """They are never missing nor what makes a database ahead; a database that is ahead leaves them alone."""
    invoke()
    (views.path / OTHER).unlink()
    assert invoke()["state"] == "up_to_date"
    views.write("002_u.sql", "SELECT 1;")
    invoke()
    (views.path / "002_u.sql").unlink()
    views.write(VIEW, "SELECT broken;")
    assert invoke()["state"] == "ahead"
    assert len(names(database)) == 4


def test_target(invoke: Invoke, views: Folder) -> None:
    """They wait while a target holds numbered files back."""
    views.write("002_u.sql", "SELECT 1;")
    assert invoke({"target_revision": "1"})["pending_migrations"] == ["002_u.sql", VIEW, OTHER]
    assert invoke({"target_revision": "2"})["applied_migrations"] == ["002_u.sql", VIEW, OTHER]


def test_rollback_has_them_run_again(invoke: Invoke, views: Folder, database: Database) -> None:
    """A rollback passes over them, and the next migrate runs them, since what they made may be gone."""
    views.write("001_t.down.sql", "DROP TABLE t CASCADE;")
    invoke()
    body = invoke({"action": "rollback", "confirm": True})
    assert (body["rolled_back_migrations"], body["pending_migrations"]) == (["001_t.sql"], ["001_t.sql", VIEW, OTHER])
    assert invoke()["applied_migrations"] == ["001_t.sql", VIEW, OTHER]
    assert database.query("SELECT count(*) FROM b") == [(0,)]


def test_stepwise(invoke: Invoke, views: Folder, database: Database) -> None:
    """A stepwise one goes on where it stopped with the same text, and from the beginning with another."""
    views.write(VIEW, "INSERT INTO t VALUES (1);\nVACUUM t;\nSELECT 1 / count(*) FROM t WHERE i = 5;")
    (views.path / OTHER).unlink()
    for _ in range(2):
        with pytest.raises(MigrationFailed, match="2 steps of"):
            invoke()
    assert database.query("SELECT i FROM t") == [(1,)]
    views.write(VIEW, "INSERT INTO t VALUES (2);\nVACUUM t;")
    assert invoke()["applied_migrations"] == [VIEW]
    assert invoke()["applied_migrations"] == []
    views.write(VIEW, "INSERT INTO t VALUES (3);\nVACUUM t;")
    assert invoke()["applied_migrations"] == [VIEW]
    assert database.query("SELECT i FROM t ORDER BY i") == [(1,), (2,), (3,)]
