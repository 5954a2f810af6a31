"""The down migrations of files that were recorded as applied, and not run: the history keeps them as it does of others."""

from __future__ import annotations

import pytest

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Cli, Invoke

TABLES = "CREATE TABLE a (i int); CREATE TABLE b (i int);"
FIRST_GENERATION = (
    "CREATE TABLE schema_migrations (id serial PRIMARY KEY, migration_name varchar(255) UNIQUE NOT NULL, "
    "executed_at timestamp DEFAULT now()); INSERT INTO schema_migrations (migration_name) VALUES ('001_a'), ('002_b');"
)
BACK = {"action": "rollback", "target_revision": "base", "confirm": True}
WAYS: dict[str, dict[str, object]] = {
    "adopted": {"action": "adopt", "confirm": True},
    "deploy": {"action": "migrate"},
    "baseline": {"action": "baseline", "target_revision": "head", "confirm": True},
}


@pytest.fixture
def files(folder: Folder) -> Folder:
    """Return the folder with two files, and the down migration of each."""
    for number, table in enumerate("ab", 1):
        folder.write(f"00{number}_{table}.sql", f"CREATE TABLE {table} (i int);")
        folder.write(f"00{number}_{table}.down.sql", f"DROP TABLE {table};")
    return folder


def roll_back_without_files(invoke: Invoke, files: Folder, database: Database) -> None:
    """Roll all of it back with a package that has none of the files."""
    for path in files.path.iterdir():
        path.unlink()
    assert invoke(BACK)["rolled_back_migrations"] == ["002_b.sql", "001_a.sql"]
    assert database.query("SELECT relname::text FROM pg_class WHERE relname IN ('a', 'b')") == []


@pytest.mark.parametrize("way", WAYS)
def test_recorded_without_being_run(invoke: Invoke, files: Folder, database: Database, way: str) -> None:
    """What was adopted, or recorded by a baseline, is rolled back by a package without the files, as what was run is."""
    database.execute(TABLES)
    invoke(WAYS[way])
    assert database.query("SELECT down_sql FROM db_setup.history ORDER BY position") == [("DROP TABLE a;",), ("DROP TABLE b;",)]
    assert invoke({"action": "history"})["success"]
    roll_back_without_files(invoke, files, database)


@pytest.mark.parametrize("way", WAYS)
def test_unfit_down_migration_is_not_stored(invoke: Invoke, files: Folder, database: Database, way: str) -> None:
    """One that is not fit to be run is named in a warning, and hinders neither the record nor the next deploy."""
    files.write("001_a.down.sql", b"DROP TABLE a; -- \xff")
    database.execute(TABLES)
    said = [text for text in invoke(WAYS[way])["warnings"] if text.startswith("001_a.down.sql:1:18  ")]
    assert len(said) == 1
    assert database.query("SELECT down_sql FROM db_setup.history ORDER BY position") == [(None,), ("DROP TABLE b;",)]
    assert invoke()["success"]


def test_unfit_down_migration_is_not_taken_over(cli: Cli, invoke: Invoke, files: Folder, database: Database) -> None:
    """Nor does it hinder a run, or a script, that takes over what the first version has recorded."""
    files.write("001_a.down.sql", "DROP TABLE 'a;")
    files.write("003_c.sql", "CREATE TABLE c (i int);")
    database.execute(TABLES + FIRST_GENERATION)
    assert cli("plan", "--sql").out.startswith("-- Warning: 001_a.down.sql:1:12 a string opened here is never closed: ")
    said = [text for text in invoke()["warnings"] if text.startswith("001_a.down.sql:1:12  ")]
    assert len(said) == 1
    assert database.query("SELECT down_sql FROM db_setup.history ORDER BY position") == [(None,), ("DROP TABLE b;",), (None,)]


def test_taken_over_from_the_first_version(invoke: Invoke, files: Folder, database: Database) -> None:
    """So is what the first version of this tool has recorded."""
    database.execute(TABLES + FIRST_GENERATION)
    invoke()
    roll_back_without_files(invoke, files, database)


def test_taken_over_by_a_script(cli: Cli, invoke: Invoke, files: Folder, database: Database) -> None:
    """The script for psql keeps them, too."""
    database.execute(TABLES + FIRST_GENERATION)
    script = cli("plan", "--sql").out
    assert "'DROP TABLE a;'" in script
    assert "'DROP TABLE b;'" in script


def test_recorded_by_repair(invoke: Invoke, files: Folder, database: Database) -> None:
    """So is a file that repair has recorded in place of one that it has forgotten."""
    invoke()
    (files.path / "001_a.sql").unlink()
    (files.path / "001_a.down.sql").unlink()
    invoke({"action": "repair", "confirm": True})
    files.write("001_c.sql", "CREATE TABLE a (i int, j int);")
    files.write("001_c.down.sql", "DROP TABLE a;")
    assert invoke({"action": "repair", "confirm": True})["repaired_migrations"] == ["001_c.sql"]
    assert database.query("SELECT down_sql FROM db_setup.history WHERE name = '001_c.sql'") == [("DROP TABLE a;",)]


def test_what_was_recorded_before_stays(invoke: Invoke, files: Folder, database: Database) -> None:
    """A higher baseline leaves the rows that are there as they are."""
    database.execute(TABLES)
    invoke({**WAYS["baseline"], "target_revision": "001"})
    files.write("001_a.down.sql", "SELECT 'another';")
    invoke(WAYS["baseline"])
    assert database.query("SELECT down_sql FROM db_setup.history ORDER BY position") == [("DROP TABLE a;",), ("DROP TABLE b;",)]
