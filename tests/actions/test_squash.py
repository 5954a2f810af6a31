"""Histories that have lost rows: what repair has forgotten is not run again, what was rolled back gets its place."""

from __future__ import annotations

import pytest
from migrator.errors import InconsistentHistory, MigrationFailed, NothingProven

from tests.plugins.databases import Database, MakeDatabase
from tests.plugins.folders import Folder
from tests.plugins.runs import Cli, Invoke

VERIFY, STATUS, REPAIR = {"action": "verify"}, {"action": "status"}, {"action": "repair", "confirm": True}
BACK = {"action": "rollback", "confirm": True, "target_revision": "base"}
SQUASHED = "DROP TABLE IF EXISTS a, b;\nCREATE TABLE a (i int);\nCREATE TABLE b (i int);"


@pytest.fixture
def two(folder: Folder, invoke: Invoke, database: Database) -> Folder:
    """Return a folder with two applied files, whose tables have rows."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    invoke()
    database.execute("INSERT INTO a VALUES (1); INSERT INTO b VALUES (2)")
    return folder


def squash(folder: Folder, text: str = SQUASHED, name: str = "001_all.sql") -> None:
    """Put one file in place of the two."""
    (folder.path / "001_a.sql").unlink()
    (folder.path / "002_b.sql").unlink()
    folder.write(name, text)


def rows(database: Database) -> list[tuple[int, ...]]:
    """Return the rows that must not get lost."""
    return database.query("SELECT i FROM a UNION ALL SELECT i FROM b ORDER BY 1")


def names(database: Database) -> list[tuple[str, str]]:
    """Return names and modes in the history, in the order of application."""
    return database.query("SELECT name, mode FROM db_setup.history ORDER BY position")


@pytest.mark.parametrize("name", ["001_all.sql", "003_all.sql"])
def test_squash_of_all_files(invoke: Invoke, two: Folder, database: Database, name: str) -> None:
    """One file in place of all is compared with what is there, and recorded; it is not run, and what follows is."""
    squash(two, name=name)
    invoke(REPAIR)
    status = invoke(STATUS)
    assert (status["state"], rows(database)) == ("tables_without_migration_history", [(1,), (2,)])
    assert "migrate first finds out which of these files are applied already" in status["warnings"][0]
    two.write("004_c.sql", "CREATE TABLE c (i int);")
    body = invoke()
    assert [item["name"] for item in body["adopted_migrations"]] == [name]
    assert body["applied_migrations"] == ["004_c.sql"]
    assert names(database) == [(name, "adopted"), ("004_c.sql", "transaction")]
    assert rows(database) == [(1,), (2,)]
    assert invoke(VERIFY)["problems"] == []


def test_squash_that_makes_something_else(invoke: Invoke, two: Folder, database: Database) -> None:
    """A file that does not make what is there is refused; baseline records it all the same."""
    squash(two, f"{SQUASHED}\nALTER TABLE a ADD COLUMN j int;")
    invoke(REPAIR)
    with pytest.raises(NothingProven):
        invoke()
    assert rows(database) == [(1,), (2,)]
    invoke({"action": "baseline", "target_revision": "001", "confirm": True})
    assert (invoke()["state"], rows(database)) == ("up_to_date", [(1,), (2,)])


def test_squash_of_some_files(invoke: Invoke, cli: Cli, two: Folder, database: Database) -> None:
    """One file in place of the first ones is not run, where later ones are applied; repair records it, once asked again."""
    two.write("003_c.sql", "CREATE TABLE c (i int);")
    invoke()
    squash(two)
    invoke(REPAIR)
    for event in ({}, {"action": "plan"}):
        with pytest.raises(InconsistentHistory, match=r"001_all\.sql is new, and repair has forgotten 001_a\.sql, 002_b\.sql: what it makes may be there"):
            invoke(event)
    assert rows(database) == [(1,), (2,)]
    assert "001_all.sql is new, and may stand for what repair has forgotten" in cli("repair").out
    assert invoke({"action": "repair"})["warnings"] == []
    body = invoke(REPAIR)
    assert (body["repaired_migrations"], body["state"]) == (["001_all.sql"], "up_to_date")
    assert (invoke()["message"], rows(database)) == ("Nothing to do: the database is up to date.", [(1,), (2,)])
    assert names(database) == [("003_c.sql", "transaction"), ("001_all.sql", "baseline")]
    assert invoke(VERIFY)["problems"] == []
    two.write("002_late.sql", "CREATE TABLE late (i int);")
    assert invoke()["applied_migrations"] == ["002_late.sql"]


@pytest.mark.parametrize("later", [False, True])
def test_stack_rollback_over_a_squash(invoke: Invoke, two: Folder, database: Database, later: bool) -> None:
    """The older package, with the files that the squash has replaced, finds the database ahead, and writes nothing."""
    if later:
        two.write("003_c.sql", "CREATE TABLE c (i int);")
        invoke()
    squash(two)
    invoke(REPAIR)
    if later:
        invoke(REPAIR)
    invoke()
    before = names(database)
    (two.path / "001_all.sql").unlink()
    two.write("001_a.sql", "CREATE TABLE a (i int);")
    two.write("002_b.sql", "CREATE TABLE b (i int);")
    body = invoke()
    assert (body["state"], body["applied_migrations"], body["pending_migrations"]) == ("ahead", [], [])
    assert body["warnings"] == ["the database is ahead of these files: it knows 001_all.sql; nothing was written"]
    assert (names(database), rows(database)) == (before, [(1,), (2,)])
    two.write("004_d.sql", "CREATE TABLE d (i int);")
    with pytest.raises(InconsistentHistory, match=r"001_all\.sql is applied"):
        invoke()


def test_new_file_after_what_is_forgotten(invoke: Invoke, two: Folder, database: Database) -> None:
    """A new file with a higher number than all that is forgotten runs, and so does one that is given such a number."""
    two.write("003_c.sql", "CREATE TABLE c (i int);")
    invoke()
    (two.path / "002_b.sql").rename(two.path / "gone")
    invoke(REPAIR)
    two.write("004_d.sql", "CREATE TABLE d (i int);")
    assert invoke()["applied_migrations"] == ["004_d.sql"]
    two.write("002_e.sql", "CREATE TABLE e (i int);")
    with pytest.raises(InconsistentHistory, match=r"002_e\.sql .* repair has forgotten 002_b\.sql"):
        invoke()
    (two.path / "002_e.sql").rename(two.path / "005_e.sql")
    assert invoke()["applied_migrations"] == ["005_e.sql"]


def test_forgotten_file_that_comes_back(invoke: Invoke, two: Folder, database: Database) -> None:
    """A file that was forgotten and is there again is not run over what it has made; repair has it back."""
    text = (two.path / "002_b.sql").read_text()
    two.write("003_c.sql", "CREATE TABLE c (i int);")
    invoke()
    (two.path / "002_b.sql").unlink()
    invoke(REPAIR)
    two.write("002_b.sql", text)
    with pytest.raises(InconsistentHistory, match=r"002_b\.sql"):
        invoke()
    assert invoke(REPAIR)["state"] == "up_to_date"
    assert (invoke()["applied_migrations"], rows(database)) == ([], [(1,), (2,)])


def test_forgotten_file_that_comes_back_after_another(invoke: Invoke, two: Folder, database: Database) -> None:
    """It is not run either where repair has recorded another file in its place meanwhile."""
    text = (two.path / "002_b.sql").read_text()
    two.write("003_c.sql", "CREATE TABLE c (i int);")
    invoke()
    (two.path / "002_b.sql").unlink()
    invoke(REPAIR)
    two.write("002_other.sql", "CREATE TABLE other (i int);")
    assert invoke(REPAIR)["repaired_migrations"] == ["002_other.sql"]
    two.write("002_b.sql", f"DROP TABLE IF EXISTS b;\n{text}")
    (two.path / "002_other.sql").rename(two.path / "004_other.sql")
    with pytest.raises(InconsistentHistory, match=r"002_b\.sql is new, and repair has forgotten 002_b\.sql"):
        invoke()
    assert rows(database) == [(1,), (2,)]
    assert invoke(REPAIR)["state"] == "up_to_date"


def test_history_of_a_failed_first_run(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The empty tables that a failed first run leaves are no history: the next one compares as the first did."""
    folder.write("001_a.sql", "SELECT 1 / 0;")
    with pytest.raises(MigrationFailed):
        invoke()
    folder.write("001_a.sql", "DROP TABLE IF EXISTS a; CREATE TABLE a (i int);")
    database.execute("CREATE TABLE a (i int); INSERT INTO a VALUES (1)")
    assert invoke(STATUS)["state"] == "tables_without_migration_history"
    assert [item["name"] for item in invoke()["adopted_migrations"]] == ["001_a.sql"]
    assert database.query("SELECT i FROM a") == [(1,)]


@pytest.mark.parametrize("answer", [BACK, {"action": "baseline", "target_revision": "none", "confirm": True}], ids=["rollback", "baseline"])
def test_history_that_says_that_nothing_is_applied(invoke: Invoke, folder: Folder, database: Database, answer: dict[str, object]) -> None:
    """A rollback of everything, and a baseline of none, have answered the question: the files run."""
    folder.write("001_a.sql", "CREATE TABLE IF NOT EXISTS a (i int);")
    folder.write("001_a.down.sql", "")
    if answer is BACK:
        invoke()
    else:
        database.execute("CREATE TABLE a (i int)")
    invoke(answer)
    body = invoke()
    assert (body["applied_migrations"], body.get("adopted_migrations")) == (["001_a.sql"], None)


def test_rollback_and_migrate(invoke: Invoke, folder: Folder, database: Database, make_database: MakeDatabase) -> None:
    """An unnumbered file that is rolled back gets its old place, so that what needs it is applied after it again."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("orders.sql", "CREATE TABLE orders (i int);")
    invoke()
    folder.write("003_alter.sql", "ALTER TABLE orders ADD COLUMN j int;")
    invoke()
    for name, text in (("001_a", "DROP TABLE a;"), ("orders", "DROP TABLE orders;"), ("003_alter", "ALTER TABLE orders DROP COLUMN j;")):
        folder.write(f"{name}.down.sql", text)
    for _ in range(2):
        body = invoke(BACK)
        assert body["pending_migrations"] == ["001_a.sql", "orders.sql", "003_alter.sql"]
        body = invoke()
        assert [(item["number"], item["name"]) for item in body["migrations"]] == [("001", "001_a.sql"), ("002", "orders.sql"), ("003", "003_alter.sql")]
        assert body["warnings"] == []
    invoke({"action": "rollback", "confirm": True, "target_revision": "001"})
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    folder.write("other.sql", "CREATE TABLE other (i int);")
    assert [item["number"] for item in invoke()["migrations"]] == ["002", "002", "003", "004"]
    assert invoke({"action": "history"})["history"][-1]["name"] == "other.sql"


def test_stepwise_rollback_and_migrate(invoke: Invoke, folder: Folder) -> None:
    """So does one whose down migration runs step by step."""
    folder.write("a.sql", "CREATE TABLE a (i int);")
    folder.write("a.down.sql", "DROP TABLE a;\nVACUUM;")
    invoke()
    folder.write("002_b.sql", "ALTER TABLE a ADD COLUMN j int;")
    folder.write("002_b.down.sql", "")
    invoke()
    invoke(BACK)
    assert invoke()["applied_migrations"] == ["a.sql", "002_b.sql"]
