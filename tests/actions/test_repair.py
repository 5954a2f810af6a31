"""repair: which differences are shown, what is accepted, and what is never touched."""

from __future__ import annotations

import pytest
from migrator.errors import InconsistentHistory, InvalidRequest, MigrationFailed, UnfinishedRollback

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Cli, Invoke

SHOW, REPAIR = {"action": "repair"}, {"action": "repair", "confirm": True}


@pytest.fixture
def differing(folder: Folder, database: Database, invoke: Invoke) -> Database:
    """Return a database whose files were edited, removed and renamed since."""
    for number, name in enumerate("abcd", 1):
        folder.write(f"00{number}_{name}.sql", f"CREATE TABLE {name} (i int);")
    invoke()
    folder.write("001_a.sql", "CREATE TABLE a (i int);\n-- with a remark\n")
    folder.write("001_a.down.sql", "DROP TABLE a;")
    (folder.path / "002_b.sql").unlink()
    (folder.path / "003_c.sql").rename(folder.path / "003_cc.sql")
    return database


def rows(database: Database) -> list[tuple[str, str]]:
    """Return names and the beginnings of checksums in the history."""
    return [(n, c) for n, c in database.query("SELECT name, left(checksum, 4) FROM db_setup.history ORDER BY position")]


def test_differences_are_shown(invoke: Invoke, differing: Database) -> None:
    """Without confirm each difference is shown, with dates and checksums, and nothing is written."""
    before = rows(differing)
    body = invoke(SHOW)
    assert [(entry["name"], entry["mode"]) for entry in body["migrations"]] == [
        ("001_a.sql", "edited"), ("002_b.sql", "missing"), ("003_c.sql", "renamed"),
    ]  # fmt: skip
    for part in ("001_a.sql (applied on 20", "(2 lines)", "002_b.sql (applied on 20", "is now 003_cc.sql", "Nothing was changed"):
        assert part in body["message"]
    assert body["repaired_migrations"] == []
    assert (rows(differing), differing.query("SELECT count(*) FROM db_setup.runs")) == (before, [(1,)])
    with pytest.raises(InconsistentHistory):
        invoke()


def test_files_are_accepted(invoke: Invoke, differing: Database) -> None:
    """With confirm the history takes the files as they are, the tables stay, and migrate has nothing to do."""
    assert invoke(REPAIR)["repaired_migrations"] == ["001_a.sql", "002_b.sql", "003_c.sql"]
    assert [name for name, _ in rows(differing)] == ["001_a.sql", "003_cc.sql", "004_d.sql"]
    assert differing.query("SELECT down_sql FROM db_setup.history WHERE name = '001_a.sql'") == [("DROP TABLE a;",)]
    assert differing.query("SELECT count(*) FROM pg_class WHERE relname IN ('a', 'b', 'c', 'd')") == [(4,)]
    assert invoke()["state"] == "up_to_date"
    assert invoke(REPAIR)["message"] == "Nothing to repair."
    (row,) = differing.query("SELECT outcome || message FROM db_setup.runs WHERE action = 'repair'")
    assert row[0].startswith("succeeded001_a.sql (applied on")


def test_unfit_down_migration_is_not_accepted(invoke: Invoke, differing: Database, folder: Folder) -> None:
    """A down migration that is not fit to be run is named once, and the history keeps the one that it has."""
    folder.write("001_a.down.sql", "DROP TABLE 'a;")
    for event in (SHOW, REPAIR):
        said = [text for text in invoke(event)["warnings"] if text.startswith("001_a.down.sql:1:12  ")]
        assert len(said) == 1
    assert differing.query("SELECT down_sql FROM db_setup.history WHERE name = '001_a.sql'") == [(None,)]


def test_renamed_and_edited_file_is_pointed_at(invoke: Invoke, differing: Database, folder: Folder) -> None:
    """A missing file that has a new one of its number is not silently run again."""
    folder.write("002_bb.sql", "CREATE TABLE IF NOT EXISTS b (i int);")
    assert "(is it 002_bb.sql? The next migrate runs that)" in invoke(SHOW)["message"]
    assert len(rows(differing)) == 4


def test_database_that_is_ahead(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The rows of a newer package are not removed by an older one."""
    folder.write("001_a.sql", "SELECT 1;")
    folder.write("002_b.sql", "SELECT 2;")
    invoke()
    (folder.path / "002_b.sql").unlink()
    assert "ahead of these files" in invoke(REPAIR)["message"]
    assert len(rows(database)) == 2


def test_half_applied_file_that_is_gone(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A file that has not reached its end, and is gone, stops migrate; repair forgets it, and says what follows."""
    folder.write("000_b.sql", "SELECT 1;")
    folder.write("001_a.sql", "CREATE TABLE a (i int);\nVACUUM a;\nSELECT broken;")
    with pytest.raises(MigrationFailed):
        invoke()
    (folder.path / "001_a.sql").unlink()
    folder.write("002_b.sql", "SELECT 1;")
    with pytest.raises(InconsistentHistory, match=r"001_a\.sql is applied in part on 20.*missing") as caught:
        invoke()
    assert "or have repair forget it: what its steps made stays" in caught.value.fix
    body = invoke(REPAIR)
    assert body["repaired_migrations"] == ["001_a.sql"]
    assert "001_a.sql (applied in part on 20" in body["message"]
    assert "what it made stays, and a file of that name would be run again" in body["message"]
    assert database.query("SELECT count(*) FROM a") == [(0,)]
    assert invoke()["applied_migrations"] == ["002_b.sql"]


def test_half_applied_file_that_was_renamed(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A file that has not reached its end goes on under its new name, and no step is done twice."""
    text = "CREATE TABLE a (i int);\nVACUUM a;\nSELECT 1 / count(*) FROM b;"
    database.execute("CREATE SCHEMA other; CREATE TABLE b (i int)")
    invoke({"action": "baseline", "target_revision": "none", "confirm": True})
    folder.write("001_a.sql", text)
    with pytest.raises(MigrationFailed, match="2 steps of"):
        invoke()
    (folder.path / "001_a.sql").rename(folder.path / "003_c.sql")
    assert invoke({"action": "status"})["pending_migrations"] == ["003_c.sql"]
    database.execute("INSERT INTO b VALUES (1)")
    body = invoke()
    assert (body["applied_migrations"], body["final_revision"]) == (["003_c.sql"], "003")
    assert database.query("SELECT name, number, state FROM db_setup.history") == [("003_c.sql", "003", "applied")]


def test_half_rolled_back_file_that_is_gone(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Of a file that is rolled back in part and gone the fix is to run rollback again, which needs it no more."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("001_a.down.sql", "VACUUM a;\nSELECT 1 / count(*) FROM a;\nDROP TABLE a;")
    invoke()
    with pytest.raises(MigrationFailed, match="1 step of"):
        invoke({"action": "rollback", "confirm": True})
    for name in ("001_a.sql", "001_a.down.sql"):
        (folder.path / name).unlink()
    folder.write("002_b.sql", "SELECT 1;")
    with pytest.raises(UnfinishedRollback, match="run rollback again"):
        invoke()
    assert invoke(REPAIR)["repaired_migrations"] == []
    database.execute("INSERT INTO a VALUES (1)")
    assert invoke({"action": "rollback", "confirm": True})["rolled_back_migrations"] == ["001_a.sql"]
    assert invoke()["applied_migrations"] == ["002_b.sql"]


@pytest.mark.parametrize("more", [{"target_revision": "1"}, {"dry_run": True}, {"steps": 1}])
def test_wishes_without_a_meaning(invoke: Invoke, more: dict[str, object]) -> None:
    """Keys of other actions are refused."""
    with pytest.raises(InvalidRequest):
        invoke({**REPAIR, **more})


def test_command_line(cli: Cli, differing: Database) -> None:
    """The command line shows the differences, and accepts them with --yes."""
    shown = cli("repair")
    assert (shown.status, len(rows(differing))) == (0, 4)
    assert "  002  002_b.sql  missing" in shown.out
    assert cli("repair", "--yes").status == 0
    assert len(rows(differing)) == 3
