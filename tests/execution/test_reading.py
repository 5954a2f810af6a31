"""Text is read by the rules that the server reads it by, or not at all."""

from __future__ import annotations

import pytest
from migrator.errors import TextMisread

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke

FUNCTION = """CREATE FUNCTION switch() RETURNS void LANGUAGE plpgsql AS $f$
BEGIN EXECUTE 'SET standard_con' || 'forming_strings = off'; END $f$;
CREATE TABLE t (s text);"""
# Read by the rule that held at first, this is one string in each INSERT; by the other one, it hides a COMMIT.
HIDING = r"""
INSERT INTO t VALUES ('x\'), ('; COMMIT AND CHAIN; SELECT ''y\');
INSERT INTO t VALUES ('\');
CREATE TABLE last (i int);
"""
COPIED = "COPY t FROM stdin;\nz\n\\.\n"
SWITCHES = {
    "set_config": "SELECT set_config('standard_conforming_strings', 'off', false);",
    "set_config of a transaction": "SELECT set_config('standard_conforming_strings', 'off', true);",
    "set_config in WITH": "WITH c AS (SELECT set_config('standard_conforming_strings', 'off', false)) TABLE c;",
    "set_config in VALUES": "VALUES (set_config('standard_conforming_strings', 'off', false));",
    "block": "DO $$ BEGIN PERFORM set_config('standard_conforming_strings', 'off', false); END $$;",
    "block with SET": "DO $$ BEGIN SET standard_conforming_strings = off; END $$;",
    "function": f"SELECT switch();\n{COPIED}",
}
UNDONE = {
    "savepoint": "SAVEPOINT s; SET standard_conforming_strings = off; ROLLBACK TO s;",
    "local": "VACUUM t; BEGIN; SET LOCAL standard_conforming_strings = off; COMMIT;",
    "block": "VACUUM t; BEGIN; SET standard_conforming_strings = off; ROLLBACK;",
}


@pytest.fixture
def with_function(invoke: Invoke, folder: Folder) -> None:
    """Apply what the switches need."""
    folder.write("001_a.sql", FUNCTION)
    invoke()


@pytest.mark.usefixtures("with_function")
@pytest.mark.parametrize("switch", SWITCHES.values(), ids=SWITCHES)
@pytest.mark.parametrize("action", ["migrate", "rehearse"])
def test_rule_that_changes_unseen(
    invoke: Invoke, folder: Folder, database: Database, switch: str, action: str
) -> None:
    """A file in which the meaning of backslashes changes without a SET is refused there, and leaves nothing."""
    text = f"INSERT INTO t VALUES ('first');\n{switch}\n{HIDING}"
    folder.write("002_b.sql", text)
    with pytest.raises(TextMisread) as caught:
        invoke({"action": action})
    line = text[: text.index("INSERT INTO t VALUES ('x")].count("\n") + 1
    assert str(caught.value).startswith(f"002_b.sql:{line}:1  standard_conforming_strings is o")
    assert database.query("SELECT to_regclass('last'), count(*) FROM t") == [(None, 0)]
    assert database.query("SELECT name FROM db_setup.history") == [("001_a.sql",)]


@pytest.mark.usefixtures("with_function")
@pytest.mark.parametrize("switch", [*SWITCHES.values(), *UNDONE.values()], ids=[*SWITCHES, *UNDONE])
def test_fix_works(invoke: Invoke, folder: Folder, database: Database, switch: str) -> None:
    """The SET that the fix names, in its place, lets the file be read as the server reads it."""
    text = f"INSERT INTO t VALUES ('first');\n{switch}\nINSERT INTO t VALUES ('a\\\\b');\nCREATE TABLE last (i int);"
    folder.write("002_b.sql", text)
    with pytest.raises(TextMisread) as caught:
        invoke()
    setting = caught.value.fix.removeprefix("write ").partition(";")[0]
    folder.write("002_b.sql", text.replace("INSERT INTO t VALUES ('a", f"{setting};\nINSERT INTO t VALUES ('a"))
    invoke()
    stored = "a\\b" if setting.endswith("off") else "a\\\\b"
    assert database.query("SELECT s FROM t WHERE s LIKE 'a%%'") == [(stored,)]


@pytest.mark.usefixtures("with_function")
def test_step_behind_a_switch(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A stepwise file stops before the statement that the server would misread; the steps before it are recorded."""
    folder.write("002_b.sql", f"VACUUM t;\n{SWITCHES['block']}\n{HIDING}")
    with pytest.raises(TextMisread, match=r"^002_b\.sql:4:1  "):
        invoke()
    assert database.query("SELECT state, steps FROM db_setup.history WHERE name = '002_b.sql'") == [("running", 2)]
    assert database.query("SELECT to_regclass('last'), count(*) FROM t") == [(None, 0)]


def test_text_without_a_backslash(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A switch that changes the meaning of nothing in the file is let be, and the next file has the session's rule."""
    folder.write("001_a.sql", f"{SWITCHES['block']}\nCREATE TABLE t (s text);\nINSERT INTO t VALUES ('a');")
    folder.write("002_b.sql", "INSERT INTO t VALUES ('b\\');")
    assert invoke()["applied_migrations"] == ["001_a.sql", "002_b.sql"]
    assert database.query("SELECT s FROM t") == [("a",), ("b\\",)]


def test_reset_gives_the_rule_back(invoke: Invoke, folder: Folder, database: Database) -> None:
    """What is behind RESET ALL is not sent with what is before it, which the server reads by another rule."""
    text = "CREATE TABLE t (s text);\nSET standard_conforming_strings = off;\nSET escape_string_warning = off;\n"
    folder.write("001_a.sql", f"{text}INSERT INTO t VALUES ('a\\'b');\nRESET ALL;\nINSERT INTO t VALUES ('c\\');")
    invoke()
    assert database.query("SELECT s FROM t") == [("a'b",), ("c\\",)]


def test_database_with_old_strings(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Where the database has standard_conforming_strings off, files, checks and down migrations are read so."""
    database.execute(f"ALTER DATABASE {database.name} SET standard_conforming_strings = off")
    folder.write("001_it\\s.sql", "CREATE TABLE t (s text);\nINSERT INTO t VALUES ('a\\\\b'), ('it\\'s;');")
    folder.write("001_it\\s.check.sql", "SELECT s FROM t WHERE s NOT IN ('a\\\\b', 'it\\'s;');")
    folder.write("001_it\\s.down.sql", "INSERT INTO t VALUES ('d\\'; --');\nALTER TABLE t RENAME TO u;")
    invoke()
    assert database.query("SELECT s FROM t") == [("a\\b",), ("it's;",)]
    assert invoke({"action": "verify"})["state"] == "up_to_date"
    invoke({"action": "rollback", "confirm": True})
    assert database.query("SELECT s FROM u") == [("a\\b",), ("it's;",), ("d'; --",)]
    assert database.query("SELECT name FROM db_setup.history") == []


def test_rule_that_a_file_gives_the_database(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A file read before another one has changed the database's rule is refused, and runs the next time."""
    folder.write("001_a.sql", f"CREATE TABLE t (s text); ALTER DATABASE {database.name} SET standard_conforming_strings = off;")
    folder.write("002_b.sql", "INSERT INTO t VALUES ('a\\\\b');")
    with pytest.raises(TextMisread, match=r"002_b\.sql:1:1  "):
        invoke()
    assert invoke()["applied_migrations"] == ["002_b.sql"]
    assert database.query("SELECT s FROM t") == [("a\\b",)]


def test_encoding_that_changes_unseen(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A client_encoding that is not the one in which text is sent stops the file at the next text that it matters to."""
    folder.write("001_a.sql", "CREATE TABLE t (s text);\nDO $$ BEGIN PERFORM set_config('client_encoding', 'LATIN1', false); END $$;\nSELECT 1;\nINSERT INTO t VALUES ('é');")
    with pytest.raises(TextMisread, match=r"^001_a\.sql:4:1  client_encoding is LATIN1"):
        invoke()
    folder.write("001_a.sql", "CREATE TABLE t (s text);\nSELECT set_config('client_encoding', 'LATIN1', false);")
    folder.write("002_é.sql", "INSERT INTO t VALUES ('é');")
    invoke()
    assert database.query("SELECT s FROM t") == [("é",)]
    assert database.query("SELECT name FROM db_setup.history") == [("001_a.sql",), ("002_é.sql",)]


LEAKS = {
    "read only": "DO $$ BEGIN PERFORM set_config('default_transaction_read_only', 'on', false); END $$;",
    "isolation": "DO $$ BEGIN PERFORM set_config('default_transaction_isolation', 'serializable', false); END $$;",
    "deferrable": "DO $$ BEGIN PERFORM set_config('default_transaction_deferrable', 'on', false); PERFORM set_config('default_transaction_read_only', 'on', false); END $$;",
    "in a function": "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ SELECT set_config('default_transaction_read_only', 'on', false) $$; SELECT f();",
    "with a temporary table": "CREATE TEMP TABLE x (i int); DO $$ BEGIN EXECUTE 'SET default_transaction_read_only = on'; END $$;",
    "stepwise": "VACUUM; DO $$ BEGIN EXECUTE 'SET default_transaction_isolation = serializable'; END $$;",
    "timeout": "DO $$ BEGIN EXECUTE 'SET statement_timeout = 300'; END $$;",
    "role": "DO $$ BEGIN EXECUTE 'SET SESSION AUTHORIZATION pg_monitor'; END $$;",
    "backslash_quote": "DO $$ BEGIN PERFORM set_config('backslash_quote', 'off', false); END $$;",
    "search_path": "DO $$ BEGIN PERFORM set_config('search_path', 'nowhere', false); END $$;",
    "prepared": "DO $$ BEGIN EXECUTE 'PREPARE p AS SELECT 1'; END $$;",
    "prepared by a function": "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'PREPARE p AS SELECT 1'; END $$; SELECT f();",
}
STATE = (
    "SELECT concat_ws(' ', current_setting('transaction_isolation'), current_setting('transaction_read_only'), "
    "current_setting('transaction_deferrable'), current_setting('search_path'), session_user, E'it\\'s')"
)


@pytest.mark.parametrize("level", ["read committed", "repeatable read"])
@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_what_holds_from_the_first_moment_does_not_leak(
    invoke: Invoke, folder: Folder, database: Database, leak: str, level: str
) -> None:
    """The transaction of a file is as in a new session from its beginning, whatever the file before it has set."""
    database.execute(f"ALTER DATABASE {database.name} SET default_transaction_isolation = '{level}'")
    folder.write("001_a.sql", leak)
    folder.write("002_b.sql", f"PREPARE p AS SELECT 2; CREATE TABLE b AS {STATE} AS s;")
    folder.write("003_c.sql", leak.replace("f()", "g()"))
    folder.write("004_d.sql", f"CREATE TABLE d AS {STATE} AS s;")
    folder.write("005_e.sql", f"BEGIN ISOLATION LEVEL SERIALIZABLE; CREATE TABLE e AS {STATE} AS s; COMMIT;")
    invoke()
    expected = f'{level} off off "$user", public postgres it\'s'
    assert database.query("SELECT s FROM b UNION ALL SELECT s FROM d") == [(expected,)] * 2
    assert database.query("SELECT s FROM e") == [(expected.replace(level, "serializable"),)]
