"""The tables of the history, compared before and after what commits by itself, or ends its transaction."""

from __future__ import annotations

import pytest
from migrator.errors import DbSetupError, HistoryChanged

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke

NO_ROWS = (
    "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RAISE 'no'; END $f$;"
    "CREATE TRIGGER no BEFORE INSERT ON db_setup.history FOR EACH ROW EXECUTE FUNCTION no();"
)


@pytest.mark.parametrize(("more", "kept"), [("", True), (NO_ROWS, False)])
def test_rows_are_put_back_where_they_can_be(invoke: Invoke, folder: Folder, database: Database, more: str, kept: bool) -> None:
    """What deletes the history and commits is named, and it is said whether its rows are there again."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    folder.write("002_b.sql", f"DO $$ BEGIN DELETE FROM db_setup.history; {more} COMMIT; END $$;")
    with pytest.raises(HistoryChanged, match="the rows were put back" if kept else "the rows could not be put back"):
        invoke()
    assert database.query("SELECT name FROM db_setup.history ORDER BY 1") == ([("001_a.sql",), ("002_b.sql",)] if kept else [])



@pytest.mark.parametrize(("sql", "state"), [
    ("CREATE SCHEMA db_setup; CREATE TABLE db_setup.history (i int)", "42703"),  # undefined_column
    ("CREATE SCHEMA db_setup; CREATE TYPE db_setup.runs AS (i int)", "42809"),  # wrong_object_type
])  # fmt: skip
def test_something_else_by_the_name_of_a_table(invoke: Invoke, folder: Folder, database: Database, sql: str, state: str) -> None:
    """A schema with something else in it stops the run with the server's error, and stays as it is."""
    database.execute(sql)
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    with pytest.raises(DbSetupError) as caught:
        invoke()
    assert caught.value.sqlstate == state
    assert database.query("SELECT to_regclass('a')") == [(None,)]


def test_long_file_that_touches_the_history(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A file that leaves no time to find out which of its statements it was is rolled back and told the same."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    folder.write("002_b.sql", "SELECT pg_sleep(2.5); DELETE FROM db_setup.history;")
    with pytest.raises(HistoryChanged, match=r"a file must not touch the history of the migrations: .* it was rolled back"):
        invoke(MIGRATION_TIMEOUT="4")
    assert database.query("SELECT name FROM db_setup.history") == [("001_a.sql",)]
