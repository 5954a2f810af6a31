"""Repeatable files of an older package: after a stack rollback the database is ahead of them, and stays as it is."""

from __future__ import annotations

import pytest
from migrator.errors import InconsistentHistory, MigrationFailed

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Body, Cli, Invoke

VIEW, OTHER = "repeatable/a_view.sql", "repeatable/b_view.sql"
ONE = "CREATE OR REPLACE VIEW a AS SELECT i FROM t;"
TWO = "CREATE OR REPLACE VIEW a AS SELECT i, j FROM t;"  # from which CREATE OR REPLACE does not lead back
THREE = "CREATE OR REPLACE VIEW a AS SELECT i, j, 3 AS three FROM t;"
FUNCTION = "CREATE OR REPLACE FUNCTION f(i int) RETURNS int LANGUAGE sql AS 'SELECT 1';"
RENAMED = "DROP FUNCTION f(int); CREATE FUNCTION f(n int) RETURNS int LANGUAGE sql AS 'SELECT 1';"
BACK = {"action": "rollback", "confirm": True}


@pytest.fixture
def package(folder: Folder, invoke: Invoke) -> Folder:
    """Return a folder of which a database has had a view in two texts; the newer one is in it."""
    (folder.path / "repeatable").mkdir()
    folder.write("001_t.sql", "CREATE TABLE t (i int, j int);")
    folder.write(VIEW, ONE)
    invoke()
    folder.write(VIEW, TWO)
    invoke()
    return folder


def written(database: Database) -> list[tuple[object, ...]]:
    """Return all that db_setup has recorded."""
    return database.query("SELECT h::text FROM db_setup.history h UNION ALL SELECT r::text FROM db_setup.runs r ORDER BY 1")


def assert_ahead(body: Body) -> None:
    """Make sure that an answer says what has happened, and how an older text is run if it is meant."""
    assert (body["state"], body["success"], body["applied_migrations"], body["pending_migrations"]) == ("ahead", True, [], [])
    assert body["message"] == "Nothing to do: the database is ahead of these files."
    assert f"it had the text of {VIEW} before the one it has now" in body["warnings"][0]
    assert "such as by a comment" in body["warnings"][0]


def test_stack_rollback(invoke: Invoke, cli: Cli, package: Folder, database: Database) -> None:
    """The older package succeeds with a warning, and writes nothing; the newer one then has nothing to do."""
    before = written(database)
    package.write(VIEW, ONE)
    for event in ({}, {"action": "status"}, {"action": "plan"}):
        assert_ahead(invoke(event))
    assert cli("status", "--check").status == 0
    assert written(database) == before
    assert database.query("SELECT count(j) FROM a") == [(0,)]
    package.write(VIEW, TWO)
    assert invoke()["message"] == "Nothing to do: the database is up to date."


def test_function_that_was_renamed(invoke: Invoke, package: Folder, database: Database) -> None:
    """So does one whose function cannot be replaced by the older text, since a parameter has another name."""
    package.write(OTHER, FUNCTION)
    invoke()
    package.write(OTHER, RENAMED)
    invoke()
    package.write(OTHER, FUNCTION)
    assert (invoke()["state"], database.query("SELECT f(n => 1)")) == ("ahead", [(1,)])


@pytest.mark.parametrize("other", ["", "CREATE OR REPLACE VIEW b AS SELECT 1 AS one;"], ids=["renamed", "moved"])
def test_file_that_is_elsewhere_in_the_newer_package(
    invoke: Invoke, package: Folder, database: Database, other: str
) -> None:
    """A file that the newer package has renamed and edited, or moved into another one, is not run by the older one."""
    if other:
        package.write(OTHER, other)
        invoke()
    (package.path / VIEW).unlink()
    package.write(OTHER, f"{other} {THREE}")
    assert invoke()["applied_migrations"] == [OTHER]
    before = written(database)
    package.write(VIEW, TWO)
    if other:
        package.write(OTHER, other)
    else:
        (package.path / OTHER).unlink()
    for event in ({}, {"action": "status"}, {"action": "plan"}):
        body = invoke(event)
        assert (body["state"], body["applied_migrations"], body["pending_migrations"]) == ("ahead", [], [])
        assert VIEW in body["warnings"][0]
    assert written(database) == before
    package.write(VIEW, f"-- meant\nDROP VIEW a; {TWO}")
    assert invoke()["applied_migrations"][0] == VIEW


def test_older_by_two(invoke: Invoke, package: Folder) -> None:
    """The texts of all earlier packages are known, not only that of the last one."""
    package.write(VIEW, THREE)
    invoke()
    for text in (ONE, TWO):
        package.write(VIEW, text)
        assert_ahead(invoke())


def test_failed_deploy(invoke: Invoke, package: Folder, database: Database) -> None:
    """After a deploy that failed at one file, having run another, the older package succeeds."""
    package.write(OTHER, "CREATE OR REPLACE VIEW b AS SELECT 1 AS one;")
    invoke()
    package.write(VIEW, THREE)
    package.write(OTHER, "SELECT broken;")
    with pytest.raises(MigrationFailed):
        invoke()
    package.write(VIEW, TWO)
    package.write(OTHER, "CREATE OR REPLACE VIEW b AS SELECT 1 AS one;")
    assert_ahead(invoke())
    assert database.query("SELECT count(three) FROM a") == [(0,)]


def test_failed_stepwise_file(invoke: Invoke, package: Folder, database: Database) -> None:
    """A newer text that has stopped half way is left to the newer package, which goes on with it."""
    package.write(VIEW, "INSERT INTO t VALUES (1);\nVACUUM t;\nSELECT 1 / (SELECT count(*) FROM t WHERE i = 2);")
    with pytest.raises(MigrationFailed):
        invoke()
    newer = (package.path / VIEW).read_text()
    package.write(VIEW, TWO)
    body = invoke()
    assert body["state"] == "ahead"
    assert body["warnings"][1] == f"{VIEW} is applied in part; deploying the newer package again finishes it"
    database.execute("INSERT INTO t VALUES (2)")
    package.write(VIEW, newer)
    assert invoke()["applied_migrations"] == [VIEW]
    assert database.query("SELECT i FROM t ORDER BY i") == [(1,), (2,)]


def test_meant(invoke: Invoke, package: Folder, database: Database) -> None:
    """An older text with a comment is another text, and is run; so is each one that follows, back and forth."""
    for number, columns in enumerate(["i", "i, j", "i"]):
        package.write(VIEW, f"-- change {number}\nDROP VIEW a; CREATE VIEW a AS SELECT {columns} FROM t;")
        assert invoke()["applied_migrations"] == [VIEW]
        assert database.query("SELECT count(*) FROM pg_attribute WHERE attrelid = 'a'::regclass AND attnum > 0") == [(len(columns.split(", ")),)]


@pytest.mark.parametrize(("new", "text"), [("002_u.sql", "CREATE TABLE u (i int);"), (OTHER, "CREATE OR REPLACE VIEW b AS SELECT 1 AS one;")])
def test_package_with_something_new(invoke: Invoke, package: Folder, database: Database, new: str, text: str) -> None:
    """A package that has a file which the database does not know is no older one: what is in it is meant, and runs."""
    package.write(VIEW, "CREATE OR REPLACE VIEW a AS SELECT i, j, 4 AS four FROM t;")
    invoke()
    package.write(VIEW, TWO.replace("CREATE OR", "DROP VIEW IF EXISTS a; CREATE OR"))
    invoke()
    package.write(VIEW, "CREATE OR REPLACE VIEW a AS SELECT i, j, 4 AS four FROM t;")
    package.write(new, text)
    body = invoke()
    assert body["applied_migrations"] == sorted([new, VIEW])
    assert body["warnings"] == [f"{VIEW} goes back to a text that the database had before"]
    assert invoke()["message"] == "Nothing to do: the database is up to date."


def test_after_a_rollback(invoke: Invoke, package: Folder, database: Database) -> None:
    """After a rollback the older package runs its text, since what it made may be gone; the newer one then runs its own."""
    package.write("001_t.down.sql", "DROP TABLE t CASCADE;")
    invoke(BACK)
    package.write(VIEW, ONE)
    assert invoke()["applied_migrations"] == ["001_t.sql", VIEW]
    package.write(VIEW, TWO)
    assert invoke()["applied_migrations"] == [VIEW]
    package.write(VIEW, ONE)
    assert_ahead(invoke())


def test_verify(invoke: Invoke, package: Folder, database: Database) -> None:
    """Of a file with an older text verify says that, and finds the drift of everything else."""
    package.write(VIEW, ONE)
    body = invoke({"action": "verify"})
    assert (body["state"], body["success"]) == ("ahead", True)
    assert body["not_verifiable"] == [f"{VIEW} was applied with a newer text: it, and the repeatable files after it"]
    database.execute("CREATE INDEX by_hand ON t (i)")
    assert [item["identity"] for item in invoke({"action": "verify"})["differences"]] == ["public.by_hand"]


def test_stack_rollback_after_a_repair(invoke: Invoke, package: Folder, database: Database) -> None:
    """A file whose edit repair has accepted is no problem of the older package, which has its earlier text."""
    text = (package.path / "001_t.sql").read_text()
    package.write("001_t.sql", f"-- a remark\n{text}")
    invoke({"action": "repair", "confirm": True})
    assert invoke()["state"] == "up_to_date"
    before = written(database)
    package.write("001_t.sql", text)
    package.write(VIEW, ONE)
    body = invoke()
    assert (body["state"], body["warnings"][0]) == ("ahead", "the database is ahead of these files: repair has accepted a newer text of 001_t.sql")
    assert written(database) == before
    assert invoke({"action": "verify"})["not_verifiable"] == ["001_t.sql was applied with a newer text: it, and the files after it"]
    package.write("002_u.sql", "CREATE TABLE u (i int);")
    with pytest.raises(InconsistentHistory, match=r"001_t\.sql was edited after it was applied"):
        invoke()
    assert invoke({"action": "repair", "confirm": True})["repaired_migrations"] == ["001_t.sql"]
    package.write(VIEW, TWO)
    assert invoke()["applied_migrations"] == ["002_u.sql"]


def test_history_of_an_earlier_version(invoke: Invoke, package: Folder, database: Database) -> None:
    """Where the tables lack the column, no text is known to be older, and it comes with the next run that writes."""
    database.execute("ALTER TABLE db_setup.history DROP COLUMN earlier_checksums")
    assert invoke({"action": "status"})["problems"] != []  # the row that had a text before
    invoke({"action": "repair", "confirm": True})
    package.write(VIEW, THREE)
    assert invoke()["applied_migrations"] == [VIEW]
    package.write(VIEW, TWO)
    assert_ahead(invoke())
