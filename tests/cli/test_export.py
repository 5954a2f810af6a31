"""``plan --sql``: a script that psql runs to the same end as migrate, history included."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from migrator.cli.local_server import LocalServer

from tests.plugins.databases import Database, Dump, MakeDatabase
from tests.plugins.folders import Folder
from tests.plugins.postgres import client_program
from tests.plugins.runs import Cli, Done, Invoke, command
from tests.plugins.waiting import order_of_ends

FILES = {
    "001_a.sql": "\ufeff-- caf\u00e9\r\nCREATE TABLE a (i int PRIMARY KEY, s text);\r\nINSERT INTO a SELECT g, 'x;' || g FROM generate_series(1, 50) g;\r\n"
    "SELECT 1 -- no end\n",
    "002_copy.sql": "\\restrict abc\nSET search_path = '';\nCREATE TABLE public.b (i int, s text);\nCOPY public.b FROM stdin;\n1\t'\n2\t\\N\n"
    "3\t\\\\quit\n\\.\nUPDATE public.a SET s = s || '!';\n\\unrestrict abc\n",
    "003_quotes.sql": "INSERT INTO a VALUES (1000, $x$ :name '' \\gset $x$), (1001, E'\\'\\\\'); SELECT (ARRAY[1,2,3])[1:2]; SET ROLE pg_monitor;\n"
    "CREATE TEMP TABLE t (i int);",
    "004_own.sql": "BEGIN ISOLATION LEVEL SERIALIZABLE;\nCREATE TEMP TABLE t (i int);\nINSERT INTO a VALUES (2000, 'own');\nCOMMIT;\n",
    "005_steps.sql": "INSERT INTO a VALUES (100, 'x');\nCREATE INDEX CONCURRENTLY a_s ON a (s);\nINSERT INTO b VALUES (3);\n"
    "CREATE INDEX CONCURRENTLY ON b (i);\nVACUUM b;\nBEGIN; INSERT INTO b VALUES (4); UPDATE a SET i = -i; COMMIT;\n"
    "BEGIN; INSERT INTO b VALUES (5); ROLLBACK;\nBEGIN; INSERT INTO b VALUES (6); COMMIT AND CHAIN; INSERT INTO b VALUES (7); COMMIT;\n",
    "006_empty.sql": "-- nothing yet\n",
    "it's.sql": "CREATE TABLE notes (i int);\nINSERT INTO notes SELECT count(*) FROM a;",
}
HISTORY = (
    "SELECT name, number, checksum, state, mode, steps, steps_checksum, step_begun, run_id, applied_by, package_version "
    "FROM db_setup.history ORDER BY position"
)
Psql = Callable[..., Done]


@pytest.fixture
def psql(server: LocalServer, database: Database, tmp_path: Path) -> Psql:
    """Run a script with psql on the test's database, or another."""

    def run(script: str, target: Database | None = None) -> Done:
        file = tmp_path / "script.sql"
        file.write_text(script, encoding="utf-8", newline="")
        words = [str(client_program(server, "psql")), "-X", "-q", "-f", str(file), (target or database).url]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "PGCLIENTENCODING": "LATIN1"})
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def files(folder: Folder) -> Folder:
    """Write files of every kind."""
    for name, text in FILES.items():
        folder.write(name, text)
    return folder


def test_same_end_as_migrate(
    files: Folder, cli: Cli, psql: Psql, database: Database, make_database: MakeDatabase, pg_dump: Dump
) -> None:
    """From nothing: the same database and history as migrate makes; a second run does nothing, and so does migrate."""
    other = make_database()
    words = command("plan", "--sql", "--database-url", database.url, "--migrations", str(files.path))
    script = subprocess.run(words, capture_output=True, check=True).stdout.decode()  # as it stands
    assert cli("migrate", DATABASE_URL=other.url).status == 0
    done = psql(script)
    assert (done.status, done.err) == (0, "")
    options = ("--exclude-schema=db_setup", "--inserts")
    assert pg_dump(database, *options) == pg_dump(other, *options)
    assert database.query(HISTORY) == other.query(HISTORY)
    runs = "SELECT action, outcome, finished_at >= started_at FROM db_setup.runs"
    assert database.query(runs) == other.query(runs)
    before = pg_dump(database)
    again = psql(script)
    assert (again.status, again.out) == (0, "Nothing to do: this script has been run on this database.\n")
    assert "State: up_to_date" in cli("migrate").out
    assert pg_dump(database) == before
    assert cli("plan", "--sql").out == "-- Nothing to do.\n"


def test_on_a_database_with_a_history(cli: Cli, psql: Psql, folder: Folder, invoke: Invoke, database: Database) -> None:
    """What is applied is not in the script; a renamed file is followed; --target ends it."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    invoke()
    (folder.path / "002_b.sql").rename(folder.path / "003_b.sql")
    only_renames = cli("plan", "--sql").out
    folder.write("004_c.sql", "CREATE TABLE c (i int);")
    folder.write("005_d.sql", "CREATE TABLE d (i int);")
    script = cli("plan", "--sql", "--target", "4").out
    assert "CREATE TABLE a" not in script
    assert script.startswith("-- Warning: 002_b.sql is now 003_b.sql; the history follows\n")
    for text in (only_renames, only_renames):
        assert psql(text).status == 0
    assert database.query("SELECT number FROM db_setup.history ORDER BY position") == [("001",), ("003",)]
    assert psql(script).status == 0
    body = invoke({"action": "status"})
    assert (body["pending_migrations"], body["problems"]) == (["005_d.sql"], [])


def test_history_of_the_first_generation(cli: Cli, psql: Psql, folder: Folder, invoke: Invoke, database: Database) -> None:
    """What the first generation recorded is taken over by the script as migrate takes it over."""
    database.execute(
        "CREATE TABLE schema_migrations (id serial PRIMARY KEY, migration_name text, applied_at timestamp DEFAULT now());"
        "INSERT INTO schema_migrations (migration_name) VALUES ('001_a')"
    )
    folder.write("001_a.sql", "SELECT 1/0;")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    script = cli("plan", "--sql").out
    assert psql(script).status == 0
    assert database.query("SELECT name, mode FROM db_setup.history ORDER BY position") == [
        ("001_a.sql", "imported"), ("002_b.sql", "transaction"),
    ]  # fmt: skip
    assert invoke({"action": "status"})["state"] == "up_to_date"
    assert psql(script).out.startswith("Nothing to do")


def test_script_that_fails(cli: Cli, psql: Psql, folder: Folder, invoke: Invoke, database: Database) -> None:
    """A failing statement ends the script; what was committed is recorded, and migrate carries on from there."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);\nINSERT INTO a VALUES (1), (1);\nCREATE INDEX ON a (i);")
    folder.write("002_b.sql", "INSERT INTO a VALUES (2);\nCREATE UNIQUE INDEX CONCURRENTLY ON a (i);\nINSERT INTO a VALUES (3);")
    script = cli("plan", "--sql").out
    done = psql(script)
    assert (done.status, "could not create unique index" in done.err) == (3, True)
    assert database.query("SELECT name, state, steps, step_begun FROM db_setup.history ORDER BY position") == [
        ("001_a.sql", "applied", 0, 0), ("002_b.sql", "running", 1, 2),
    ]  # fmt: skip
    again = psql(script)
    assert (again.status, "make it again" in again.err) == (3, True)
    refused = cli("plan", "--sql")
    assert (refused.status, "002_b.sql is applied in part" in refused.err) == (1, True)
    database.execute("DELETE FROM a WHERE ctid = '(0,1)'")
    body = invoke()
    assert body["applied_migrations"] == ["002_b.sql"]
    assert database.query("SELECT i FROM a ORDER BY i") == [(1,), (2,), (3,)]
    indexes = "SELECT indisunique, indisvalid FROM pg_index WHERE indrelid = 'a'::regclass ORDER BY 1"
    assert database.query(indexes) == [(False, True), (True, True)]


def test_application_queues_behind_no_statement_of_a_script(cli: Cli, psql: Psql, folder: Folder, database: Database) -> None:
    """A statement of a script waits for a lock no longer than a run's, so that no query queues behind it for long."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    assert cli("migrate").status == 0
    folder.write("002_b.sql", "VACUUM FULL a;")
    script = cli("plan", "--sql", LOCK_TIMEOUT="200ms").out
    ends: list[Done] = []
    order = order_of_ends(database, "a", lambda: ends.append(psql(script)))
    assert order.index("query") < order.index("transaction")
    assert (ends[0].status, "lock timeout" in ends[0].err) == (3, True)


def test_concurrent_statement_of_a_script_waits(cli: Cli, psql: Psql, folder: Folder, database: Database) -> None:
    """CREATE INDEX CONCURRENTLY waits without end, which a time limit would leave invalid; then the file's own holds."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "SET lock_timeout = '3s';\nCREATE INDEX CONCURRENTLY a_i ON a (i);\nCREATE TABLE b AS SELECT current_setting('lock_timeout') t;")
    script = cli("plan", "--sql", LOCK_TIMEOUT="50ms").out
    assert script.count("SET lock_timeout = 0") == 1
    assert psql(script).status == 0
    assert database.query("SELECT t FROM b") == [("3s",)]


def test_not_during_a_run(cli: Cli, psql: Psql, folder: Folder, database: Database) -> None:
    """A script does nothing while a run is at work."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    script = cli("plan", "--sql").out
    connection = database.connect()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(1684173925, 1952804208)")
        done = psql(script)
    connection.close()
    assert (done.status, "db_setup is at work" in done.err) == (3, True)
    assert database.query("SELECT to_regnamespace('db_setup')") == [(None,)]


@pytest.mark.parametrize("options", [("--json",), ("--function", "f")])
def test_options_that_do_not_go_together(cli: Cli, options: tuple[str, ...]) -> None:
    """The script is text for psql, made of the files of this machine."""
    done = cli("plan", "--sql", *options)
    assert done.status == 2
    assert "--sql together with" in done.out + done.err


@pytest.mark.usefixtures("files")
def test_export_writes_nothing(cli: Cli, database: Database, pg_dump: Dump) -> None:
    """Making a script changes nothing."""
    before = pg_dump(database)
    assert cli("plan", "--sql").status == 0
    assert pg_dump(database) == before


def test_checks(cli: Cli, psql: Psql, folder: Folder, database: Database) -> None:
    """The script asks the checks where migrate asks them: what they find ends it, and the file is not kept."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);\nINSERT INTO a VALUES (1), (2);")
    check = "SELECT count(*) = {} FROM a; -- all\nSET search_path = pg_catalog;\nSELECT 'none' WHERE false; /* end"
    folder.write("001_a.check.sql", check.format(3) + " */")
    folder.write("002_steps.sql", "INSERT INTO a VALUES (3);\nVACUUM a;")
    folder.write("002_steps.check.sql", "SELECT *\nFROM a WHERE i = 3;")
    done = psql(cli("plan", "--sql").out)
    assert (done.status, '001_a.check.sql:1: the check found this: {"?column?":false}' in done.err) == (3, True)
    assert database.query("SELECT to_regclass('a'), count(*) FROM db_setup.history") == [(None, 0)]
    folder.write("001_a.check.sql", check.format(2) + " */")
    done = psql(cli("plan", "--sql").out)
    assert (done.status, 'found this: {"i":3}' in done.err) == (3, True)
    states = "SELECT name, state FROM db_setup.history ORDER BY position"
    assert database.query(states) == [("001_a.sql", "applied"), ("002_steps.sql", "running")]
    folder.write("002_steps.check.sql", "SELECT * FROM a WHERE i = 4;")
    assert cli("migrate").status == 0
    assert database.query("SELECT count(*) FROM a") == [(3,)]


def test_repeatable_and_environments(cli: Cli, psql: Psql, folder: Folder, invoke: Invoke, database: Database) -> None:
    """A changed repeatable file is run again, next to rows of files that are for another environment."""
    for name in ("repeatable", "env/dev"):
        (folder.path / name).mkdir(parents=True)
    folder.write("repeatable/v.sql", "CREATE OR REPLACE VIEW v AS SELECT 1 AS one;")
    folder.write("env/dev/001_d.sql", "CREATE TABLE d (i int);")
    invoke(MIGRATION_ENV="dev")
    folder.write("repeatable/v.sql", "CREATE OR REPLACE VIEW v AS SELECT 2 AS one;")
    done = psql(cli("plan", "--sql").out)
    assert (done.status, done.err) == (0, "")
    assert database.query("SELECT one FROM v") == [(2,)]
    assert invoke(MIGRATION_ENV="dev")["message"] == "Nothing to do: the database is up to date."


def test_repeatable_that_is_gone(cli: Cli, psql: Psql, folder: Folder, invoke: Invoke) -> None:
    """A script marks the repeatable files that are gone, as a run does; it is not written for that alone."""
    (folder.path / "repeatable").mkdir()
    view = folder.write("repeatable/v.sql", "CREATE OR REPLACE VIEW v AS SELECT 1 AS one;")
    invoke()
    text = view.read_text()
    view.unlink()
    assert cli("plan", "--sql").out == "-- Nothing to do.\n"
    folder.write("001_a.sql", "DROP VIEW v;")
    assert psql(cli("plan", "--sql").out).status == 0
    view.write_text(text)
    assert invoke()["applied_migrations"] == ["repeatable/v.sql"]
