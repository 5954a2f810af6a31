"""Repeatable files: when they run, in which order, and what they are not taken for."""

from __future__ import annotations

import pytest
from migrator.errors import MigrationFailed

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke

VERIFY = {"action": "verify"}
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


def test_verify(invoke: Invoke, views: Folder, database: Database) -> None:
    """Verification builds them after the numbered files, in the order of names, whenever they were applied."""
    invoke()
    views.write(VIEW, "CREATE OR REPLACE VIEW a AS SELECT 2 AS one FROM t;")
    views.write("002_u.sql", "CREATE TABLE u (i int);")
    invoke()
    body = invoke(VERIFY)
    assert (body["state"], body["message"]) == ("up_to_date", "The database is what 4 migrations build.")
    database.execute("CREATE OR REPLACE VIEW b AS SELECT one, 1 AS more FROM a;")
    body = invoke(VERIFY)
    assert [item["identity"] for item in body["differences"]] == ["public.b"]


def test_verify_with_another_text(invoke: Invoke, views: Folder, database: Database) -> None:
    """Nothing is said of a file that was edited since, nor of those after it, which may use it; of all others it is."""
    invoke()
    views.write(VIEW, "CREATE OR REPLACE VIEW a AS SELECT 1 AS one, 2 AS two FROM t;")
    body = invoke(VERIFY)
    assert (body["state"], body["differences"]) == ("pending_migrations", [])
    assert body["not_verifiable"] == [f"{VIEW} is to be run again: it, and the repeatable files after it"]
    database.execute("CREATE INDEX by_hand ON t (i)")
    (views.path / OTHER).unlink()
    body = invoke(VERIFY)
    assert [item["identity"] for item in body["differences"]] == ["public.by_hand", "public.b"]
    assert body["not_verifiable"][-1] == f"{OTHER} is applied, and its file is gone"


def test_adoption(invoke: Invoke, views: Folder, database: Database) -> None:
    """What a scratch database proves is recorded of them, too."""
    for name in ("001_t.sql", VIEW, OTHER):
        database.execute((views.path / name).read_text())
    assert [item["name"] for item in invoke()["adopted_migrations"]] == ["001_t.sql", VIEW, OTHER]
    assert invoke()["message"] == "Nothing to do: the database is up to date."


def test_baseline(invoke: Invoke, views: Folder, database: Database) -> None:
    """A person's word, or another tool's table, says nothing of them: they run."""
    database.execute("CREATE TABLE t (i int)")
    body = invoke({"action": "baseline", "target_revision": "head", "confirm": True})
    assert [item["name"] for item in body["adopted_migrations"]] == ["001_t.sql"]
    assert invoke()["applied_migrations"] == [VIEW, OTHER]


def test_number_of_another_tool(invoke: Invoke, views: Folder, database: Database) -> None:
    """A version in another tool's table is never taken for a repeatable file that begins with that number."""
    views.write("repeatable/002_c.sql", "CREATE OR REPLACE VIEW c AS SELECT 1 AS one;")
    database.execute("CREATE TABLE t (i int); CREATE TABLE schema_migrations (version text PRIMARY KEY)")
    database.execute("INSERT INTO schema_migrations VALUES ('1')")
    assert invoke()["applied_migrations"] == ["repeatable/002_c.sql", VIEW, OTHER]


def test_removed_and_back(invoke: Invoke, views: Folder, database: Database) -> None:
    """A file that a run has found to be gone is run when it comes back, though its text is the one of the last time."""
    invoke()
    text = (views.path / OTHER).read_text()
    (views.path / OTHER).unlink()
    (warning,) = invoke({"action": "status"})["warnings"]
    assert warning == f"{OTHER} has no file any more: what it made stays, and it is run should it come back"
    body = invoke()
    assert (body["state"], body["applied_migrations"], body["warnings"]) == ("up_to_date", [], [warning])
    runs = database.query("SELECT count(*) FROM db_setup.runs")
    assert invoke()["warnings"] == []
    assert database.query("SELECT count(*) FROM db_setup.runs") == runs
    database.execute("DROP VIEW b")
    views.write(OTHER, text)
    assert invoke({"action": "status"})["pending_migrations"] == [OTHER]
    assert invoke()["applied_migrations"] == [OTHER]
    assert database.query("SELECT count(*) FROM b") == [(0,)]


def test_removed_where_the_database_is_ahead(invoke: Invoke, views: Folder, database: Database) -> None:
    """A package that is older than the database writes nothing of files that it does not have."""
    views.write("002_u.sql", "SELECT 1;")
    invoke()
    for name in ("002_u.sql", OTHER):
        (views.path / name).unlink()
    assert invoke()["state"] == "ahead"
    assert database.query("SELECT count(*) FROM db_setup.history WHERE checksum = ''") == [(0,)]


def test_half_run_and_gone(invoke: Invoke, views: Folder, database: Database) -> None:
    """A file that was run in part and is gone is named by every run, until it is put back, or repair forgets it."""
    views.write(VIEW, "INSERT INTO t VALUES (1);\nVACUUM t;\nSELECT 1 / count(*) FROM t WHERE i = 5;")
    (views.path / OTHER).unlink()
    with pytest.raises(MigrationFailed):
        invoke()
    (views.path / VIEW).unlink()
    for event in ({"action": "status"}, {"action": "plan"}, {}):
        (warning,) = invoke(event)["warnings"]
        assert warning.startswith(f"{VIEW} is applied in part, and its file is missing: put back, it goes on")
    shown = invoke({"action": "repair"})
    assert [(entry["name"], entry["mode"]) for entry in shown["migrations"]] == [(VIEW, "missing")]
    assert invoke({"action": "repair", "confirm": True})["repaired_migrations"] == [VIEW]
    assert (names(database), invoke()["warnings"]) == (["001_t.sql"], [])
