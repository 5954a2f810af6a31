"""Checks: what passes, what fails, what stays then, and what is said."""

from __future__ import annotations

import pytest
from migrator.errors import CheckFailed, MigrationFailed, UnusableCheck

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke, Outside

FILE = "CREATE TABLE a (i int, s text);\nINSERT INTO a VALUES (1, 'x'), (2, 'y');"
THERE = "SELECT to_regclass('a') IS NOT NULL"


@pytest.mark.parametrize(
    "check",
    ["SELECT * FROM a WHERE i > 5;", "SELECT true", "SELECT count(*) = 2 FROM a -- all;", "", "-- nothing",
     "TABLE a LIMIT 0", "VALUES (true);", "(SELECT true)", "WITH x AS (SELECT 1) SELECT true FROM x;",
     "SET search_path = public; SELECT true;", "DO $$ BEGIN ASSERT (SELECT count(*) = 2 FROM a); END $$;",
     "/* why */ SELECT i, i FROM a WHERE false;"],
)  # fmt: skip
def test_passes(invoke: Invoke, folder: Folder, database: Database, check: str) -> None:
    """No row, and one true value, let the migration be applied."""
    folder.write("001_a.sql", FILE)
    folder.write("001_a.check.sql", check)
    assert invoke()["applied_migrations"] == ["001_a.sql"]
    assert database.query("SELECT count(*) FROM a") == [(2,)]
    assert invoke()["applied_migrations"] == []


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("SELECT true;\n\n  SELECT * FROM a;", r'^001_a\.check\.sql:3:3  the check found this: \{"i":1,"s":"x"\}, \{"i":2,"s":"y"\}'),
        ("SELECT false", r'^001_a\.check\.sql:1:1  the check found this: \{"(\?column\?|bool)":false\}'),
        ("SELECT NULL::bool AS b", r'\{"b":null\}'),
        ("SELECT 't'::text", r'"t"'), ("SELECT true, true", "true"), ("SELECT true FROM a", "true"),
        ("SELECT g, repeat('x', 100000) FROM generate_series(1, 1000000) g", r"more than 3 rows: .{0,400}, \.\.\."),
        ("SELECT 'password = canary7' AS p", r"password = \*\*\*"),
    ],
)  # fmt: skip
def test_failed_check_takes_its_file_back(invoke: Invoke, folder: Folder, database: Database, check: str, said: str) -> None:
    """Anything else rolls the file back, with the place of the query and a few of its rows."""
    folder.write("001_a.sql", FILE)
    folder.write("001_a.check.sql", check)
    with pytest.raises(CheckFailed, match=said) as caught:
        invoke()
    assert len(str(caught.value).encode()) <= 1024
    assert "nothing of 001_a.sql" in str(caught.value)
    assert database.query(THERE) == [(False,)]
    assert database.query("SELECT count(*) FROM db_setup.history") == [(0,)]
    assert "canary" not in str(database.query("SELECT message FROM db_setup.runs"))


def test_error_in_a_check(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A query that the server refuses has its place in the check, and the file is not applied."""
    folder.write("001_a.sql", FILE)
    folder.write("001_a.check.sql", "SELECT true;\nSELECT nowhere\nFROM a;")
    with pytest.raises(MigrationFailed, match=r'^001_a\.check\.sql:2:8  column "nowhere" does not exist'):
        invoke()
    assert database.query(THERE) == [(False,)]


@pytest.mark.parametrize("check", ["COMMIT;", "BEGIN;\nCOMMIT;", "VACUUM a;", "SELECT 1;\nROLLBACK;", "SET TRANSACTION READ ONLY;"])
def test_statement_that_is_no_question(invoke: Invoke, folder: Folder, database: Database, check: str) -> None:
    """A check that would end the transaction is refused before anything is touched."""
    folder.write("001_a.sql", FILE)
    folder.write("001_a.check.sql", check)
    with pytest.raises(UnusableCheck, match=r"^001_a\.check\.sql:\d:1  "):
        invoke()
    assert database.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'db_setup'") == [(0,)]


def test_what_a_check_does_is_rolled_back(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A check cannot change anything: it is rolled back to where it began."""
    folder.write("001_a.sql", FILE)
    folder.write("002_index.sql", "CREATE INDEX CONCURRENTLY ON a (i);")
    for name in ("001_a", "002_index"):
        folder.write(f"{name}.check.sql", "INSERT INTO a VALUES (3, 'z'); SELECT count(*) = 3 FROM a;")
    assert [line["mode"] for line in invoke()["migrations"]] == ["transaction", "stepwise"]
    assert database.query("SELECT count(*) FROM a") == [(2,)]


def test_check_of_a_stepwise_file(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The steps of a stepwise file stay; the next run asks again, and only then the file counts as applied."""
    folder.write("001_a.sql", f"{FILE}\nCREATE INDEX CONCURRENTLY ON a (i);")
    folder.write("001_a.check.sql", "SELECT * FROM a WHERE i = 2;")
    with pytest.raises(CheckFailed, match=r"3 steps of 001_a\.sql, recorded; a re-run asks the check again"):
        invoke()
    assert database.query("SELECT state, steps FROM db_setup.history") == [("running", 3)]
    with pytest.raises(CheckFailed):
        invoke()
    database.execute("DELETE FROM a WHERE i = 2")
    assert invoke()["applied_migrations"] == ["001_a.sql"]
    assert database.query("SELECT count(*) FROM a") == [(1,)]


def test_check_of_a_large_file(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A file that travels in several messages is checked before its end, too."""
    rows = "".join(f"INSERT INTO a VALUES ({i}, '{'x' * 3000}');\n" for i in range(3, 203))
    folder.write("001_a.sql", f"{FILE}\n{rows}")
    folder.write("001_a.check.sql", "SELECT count(*) = 1 FROM a")
    with pytest.raises(CheckFailed):
        invoke()
    assert database.query(THERE) == [(False,)]
    folder.write("001_a.check.sql", "SELECT count(*) = 202 FROM a")
    invoke()
    assert database.query("SELECT count(*) FROM a") == [(202,)]


def test_check_without_migration(invoke: Invoke, folder: Folder) -> None:
    """A check that belongs to no file is named, since it is never made."""
    folder.write("001_a.check.sql", "SELECT true")
    assert invoke()["warnings"] == ["001_a.check.sql is not run: there is no 001_a.sql"]


def test_any_name_of_a_column(invoke: Invoke, folder: Folder) -> None:
    """What the columns of a query are called is of no matter."""
    folder.write("001_a.sql", FILE)
    folder.write("001_a.check.sql", "SELECT true AS q; SELECT true AS found; SELECT i AS q, i AS q FROM a WHERE i > 2;")
    assert invoke()["applied_migrations"] == ["001_a.sql"]


@pytest.mark.parametrize(
    ("check", "said"),
    [("DO $$ BEGIN EXECUTE 'VACUUM'; END $$", "25001"), ("CALL committing()", "2D000"),
     ("SELECT count(*) = 0 FROM moods WHERE mood = 'new'", "55P04")],
)  # fmt: skip
def test_check_that_no_transaction_allows(
    invoke: Invoke, folder: Folder, database: Database, outside: Outside, check: str, said: str
) -> None:
    """A check that cannot be asked in a transaction rolls its file back, and never has it applied step by step."""
    outside("CREATE TYPE mood AS ENUM ('old'); CREATE TABLE moods (mood mood)")
    database.execute("CREATE PROCEDURE committing() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'")
    folder.write("001_a.sql", f"{FILE} ALTER TYPE mood ADD VALUE 'new';")
    folder.write("001_a.check.sql", check)
    with pytest.raises(MigrationFailed, match=said) as caught:
        invoke()
    assert "nothing of 001_a.sql" in str(caught.value)
    assert database.query(THERE) == [(False,)]
    assert database.query("SELECT count(*) FROM db_setup.history") == [(0,)]


def test_passwords_in_rows(invoke: Invoke, folder: Folder, database: Database) -> None:
    """What a column with a password's name holds is not shown."""
    folder.write("001_a.sql", FILE)
    folder.write(
        "001_a.check.sql",
        "SELECT 'x' AS login, E'canary\\\"1' AS password, 7654 AS \"Passwd\", 'canary2' AS old_password, repeat('canary', 99) AS password2",
    )
    with pytest.raises(CheckFailed, match=r'\{"login":"x","password":\*\*\*,"Passwd":\*\*\*,"old_password":\*\*\*,') as caught:
        invoke()
    shown = str(caught.value).partition("\n")[0] + str(database.query("SELECT split_part(message, E'\\n', 1) FROM db_setup.runs"))
    assert not {"canary", "7654"} & {word for word in ("canary", "7654") if word in shown}


@pytest.mark.parametrize("text", ["", "-- nothing yet\n"])
def test_check_of_a_file_without_a_statement(invoke: Invoke, folder: Folder, text: str) -> None:
    """A file that does nothing is held to its check like any other."""
    folder.write("001_a.sql", text)
    folder.write("001_a.check.sql", "SELECT false")
    with pytest.raises(CheckFailed):
        invoke()
    folder.write("001_a.check.sql", "SELECT true")
    assert invoke()["applied_migrations"] == ["001_a.sql"]
