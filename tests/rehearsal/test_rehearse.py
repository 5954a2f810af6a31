"""A rehearsal reports what a deploy would do and leaves nothing, whatever ends it."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from migrator.errors import CheckFailed, DbSetupError, MigrationFailed, RunLockTimeout
from migrator.history import RunLock

from tests.plugins.databases import Database, Dump
from tests.plugins.folders import Folder
from tests.plugins.runs import Cli, Invoke, Outside, command
from tests.plugins.waiting import concurrently, is_blocked, wait_until

REHEARSE = {"action": "rehearse"}
# For how long the server is at work on a statement that sleeps, up to a moment in which it still was.
AT_WORK = """
SELECT extract(epoch FROM now() - query_start)::float * 1000 FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%pg_sleep(60)%'
"""


def first(body: dict[str, Any]) -> dict[str, Any]:
    """Return the first entry of a rehearsal."""
    entry: dict[str, Any] = body["rehearsal"][0]
    return entry


def test_files_build_on_each_other_and_nothing_stays(
    invoke: Invoke, folder: Folder, database: Database, outside: Outside, pg_dump: Dump
) -> None:
    """Later files find what earlier ones made; afterwards the database is as it was, without a history."""
    outside("CREATE TABLE old (i int)")
    before = pg_dump(database)
    folder.write("001_a.sql", "CREATE TABLE a (i int);\nSET search_path = nowhere;\nCREATE TEMP TABLE t (i int);\n")
    folder.write("002_b.sql", "INSERT INTO a VALUES (1);\nCREATE TEMP TABLE t (i int);\nSELECT 1/i FROM a;\n")
    body = invoke(REHEARSE)
    assert [(entry["migration"], entry["line"]) for entry in body["rehearsal"]] == [
        ("001_a.sql", 1), ("001_a.sql", 2), ("001_a.sql", 3), ("002_b.sql", 1), ("002_b.sql", 2), ("002_b.sql", 3),
    ]  # fmt: skip
    assert (body["success"], body["pending_migrations"]) == (True, ["001_a.sql", "002_b.sql"])
    assert "Rehearsed 2 migrations: 6 statements in" in body["message"]
    assert pg_dump(database) == before
    assert invoke()["applied_migrations"] == ["001_a.sql", "002_b.sql"]
    assert invoke(REHEARSE)["rehearsal"] == []


def test_target(invoke: Invoke, folder: Folder) -> None:
    """A rehearsal ends with the migration that was asked for."""
    folder.write("001_a.sql", "SELECT 1;")
    folder.write("002_b.sql", "SELECT 2;")
    assert [entry["migration"] for entry in invoke({**REHEARSE, "target_revision": "1"})["rehearsal"]] == ["001_a.sql"]


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE b (i int);\n  SELECT nope FROM b;",
        "CREATE TABLE b (i int);\nSELEC 1;",
        "SELECT 1;\nSELECT 1 / (SELECT 0);",
        "CREATE TABLE d (i int UNIQUE DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO d VALUES (1), (1);",
        "CREATE TABLE c (i int);\nCOPY c FROM stdin;\n1\nx\n\\.\n",
    ],
)
def test_error_is_the_one_of_migrate(
    invoke: Invoke, folder: Folder, database: Database, pg_dump: Dump, text: str
) -> None:
    """What migrate would fail with, a rehearsal fails with: the same place, cause and fix; nothing stays."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", text)
    before = pg_dump(database)
    with pytest.raises(MigrationFailed) as rehearsed:
        invoke(REHEARSE)
    assert pg_dump(database) == before
    with pytest.raises(MigrationFailed) as applied:
        invoke()
    assert without_applied(rehearsed.value) == without_applied(applied.value)
    assert rehearsed.value.applied == "nothing: a rehearsal is rolled back"


def without_applied(error: DbSetupError) -> list[str]:
    """Return an error's lines but for what was applied."""
    return [line for line in str(error).splitlines() if not line.startswith("Applied: ")]


def test_deferred_constraints_are_deferred_in_each_file(invoke: Invoke, folder: Folder) -> None:
    """What is checked at a COMMIT is checked at the end of each file, and only there."""
    folder.write("001_a.sql", "CREATE TABLE a (i int PRIMARY KEY);\nCREATE TABLE b (i int REFERENCES a DEFERRABLE INITIALLY DEFERRED);\n")
    for name, number in (("002_b.sql", 1), ("003_c.sql", 2)):
        folder.write(name, f"INSERT INTO b VALUES ({number}); INSERT INTO a VALUES ({number}); ALTER TABLE a ADD x{number} int;")
    assert invoke(REHEARSE)["success"]


def test_own_transaction_is_absorbed(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A file's own BEGIN and COMMIT end nothing; its own savepoints work."""
    folder.write("001_a.sql", "BEGIN;\nCREATE TABLE a (i int);\nSAVEPOINT s;\nDROP TABLE a;\nROLLBACK TO s;\nTABLE a;\nCOMMIT;\n")
    folder.write("002_b.sql", "BEGIN ISOLATION LEVEL SERIALIZABLE;\nTABLE a;\nCOMMIT;\n")
    body = invoke(REHEARSE)
    assert [entry["line"] for entry in body["rehearsal"]] == [2, 3, 4, 5, 6, 2]
    assert any("002_b.sql: the isolation level" in text for text in body["not_rehearsed"])
    assert database.query("SELECT to_regclass('a'), to_regnamespace('db_setup')") == [(None, None)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("CREATE INDEX CONCURRENTLY a_i ON a (i);", "002_b.sql: it runs stepwise"),
        ("BEGIN; SELECT 1; COMMIT; BEGIN; SELECT 2; COMMIT;", "002_b.sql: it runs stepwise"),
        ("CALL commits();", "002_b.sql: invalid transaction termination"),
        ("SELECT 'new'::e;", "002_b.sql: unsafe use of new value"),
        ("SELECT 1;\nCOPY a TO '/nowhere/at/all';", "002_b.sql: line 2 acts outside the transaction"),
        ("COPY a TO PROGRAM 'cat';", "002_b.sql: line 1 acts outside the transaction"),
        ("SELECT pg_terminate_backend (pg_backend_pid());", "002_b.sql: line 1 acts outside the transaction"),
    ],
)
def test_what_cannot_be_rehearsed(
    invoke: Invoke, folder: Folder, database: Database, outside: Outside, text: str, said: str
) -> None:
    """A file that no single transaction can hold is named, with all that comes after it; what came before is reported."""
    outside("CREATE TYPE e AS ENUM ('old'); CREATE TABLE a (i int);"
                     "CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$")
    folder.write("001_a.sql", "ALTER TYPE e ADD VALUE 'new';")
    folder.write("002_b.sql", text)
    folder.write("003_c.sql", "SELECT 3;")
    body = invoke(REHEARSE)
    assert first(body)["migration"] == "001_a.sql"
    assert body["not_rehearsed"][0].startswith(said)
    assert body["not_rehearsed"][0].endswith("and what comes after it: 003_c.sql")
    assert (body["success"], "Rehearsed 1 of 3 migrations" in body["message"]) == (True, True)


def test_function_that_would_act_outside_may_be_made(invoke: Invoke, folder: Folder) -> None:
    """Text that is not run, or only spoken of, stops nothing."""
    folder.write(
        "001_a.sql",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ SELECT pg_reload_conf() $$;\n"
        "SELECT 1; -- not lo_export(1, 'x')\nCREATE TABLE copies (program text);\nNOTIFY you;\n",
    )
    body = invoke(REHEARSE)
    assert len(body["rehearsal"]) == 4
    assert [text.partition(":")[0] for text in body["not_rehearsed"]] == ["NOTIFY and LISTEN", "time under load"]


def test_sequence_that_has_moved_is_named(invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """A rollback does not set back a sequence, so it is named."""
    outside("CREATE TABLE a (id serial)")
    folder.write("001_a.sql", "INSERT INTO a DEFAULT VALUES;")
    assert "moved, which no rollback undoes: public.a_id_seq" in invoke(REHEARSE)["not_rehearsed"][0]


def test_lock_of_another_session(cli: Cli, invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """A statement that meets a lock is named with its holder, soon; what came before it is reported; exit status 1."""
    outside("CREATE TABLE a (i int)")
    folder.write("001_a.sql", "SELECT 1;\nALTER TABLE a ADD j int;\nSELECT 2;")
    with closing(database.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("SET application_name = 'shop'; BEGIN; SELECT * FROM a")
        body = invoke(REHEARSE, LOCK_TIMEOUT="400ms")
        done = cli("rehearse", LOCK_TIMEOUT="400ms")
    assert [(entry["line"], entry["outcome"]) for entry in body["rehearsal"]] == [(1, "done"), (2, "lock")]
    assert not body["success"]
    (problem,) = body["problems"]
    assert problem.startswith("001_a.sql:2:1 conflicted with another session: canceling statement due to lock timeout; the rehearsal ended")
    assert 'application "shop", idle in transaction' in problem
    assert (done.status, "blocked by another session" in done.out) == (1, True)
    assert database.query("SELECT count(*) FROM pg_attribute WHERE attrelid = 'a'::regclass AND attname = 'j'") == [(0,)]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT pg_sleep(60)",
        "SET statement_timeout = 0; SELECT pg_sleep(60)",
        "DO $$ BEGIN BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; PERFORM pg_sleep(60); END $$",
    ],
)
def test_time_is_over(invoke: Invoke, folder: Folder, database: Database, pg_dump: Dump, text: str) -> None:
    """The statement at work when REHEARSE_TIMEOUT is over is named, whatever it sets of timeouts; nothing stays.

    Its duration is the whole time for which the server has been at work on it.
    """
    before = pg_dump(database)
    folder.write("001_a.sql", f"CREATE TABLE a (i int);\n{text};\n")
    at_work: list[float] = []

    def watch() -> None:
        wait_until(lambda: database.query(f"{AT_WORK} AND wait_event = 'PgSleep'"))
        while found := database.query(AT_WORK):
            at_work.extend(milliseconds for (milliseconds,) in found)

    with concurrently(watch):
        body = invoke(REHEARSE, REHEARSE_TIMEOUT="1s")
    assert [entry["outcome"] for entry in body["rehearsal"]][-1] == "time"
    assert body["rehearsal"][-1]["duration_ms"] >= int(max(at_work)) > 0
    assert "was at work when the time for a rehearsal was over" in body["problems"][0]
    assert pg_dump(database) == before


def test_session_that_waits_is_named(invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """Who waits for a table that a statement has locked is named."""
    outside("CREATE TABLE a (i int)")
    folder.write(
        "001_a.sql",
        "DO $$ BEGIN LOCK TABLE a IN SHARE MODE; WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted "
        "AND relation = 'a'::regclass) LOOP "
        "PERFORM pg_sleep(0.01); END LOOP; END $$;",
    )

    def insert() -> None:
        wait_until(lambda: database.query("SELECT 1 FROM pg_locks WHERE relation = 'a'::regclass AND mode = 'ShareLock'"))
        database.execute("SET application_name = 'shop'; INSERT INTO a VALUES (1)")

    with concurrently(insert):
        entry = first(invoke(REHEARSE, REHEARSE_TIMEOUT="15s"))
    (session,) = entry["sessions"]
    assert (session["application"], session["lock"], session["waiting"]) == ("shop", "RowExclusiveLock", True)


def test_session_that_held_a_lock_is_named(invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """Who held a lock that a statement would exclude, when the rehearsal began, is named."""
    outside("CREATE TABLE a (i int)")
    folder.write("001_a.sql", "SET lock_timeout = '15s';\nALTER TABLE a ADD j int;")
    with closing(database.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("SET application_name = 'shop'; BEGIN; SELECT * FROM a")

        def leave() -> None:
            wait_until(lambda: is_blocked(database))
            cursor.execute("COMMIT")

        with concurrently(leave):
            entry = invoke(REHEARSE)["rehearsal"][1]
    assert [(s["application"], s["lock"], s["waiting"]) for s in entry["sessions"]] == [("shop", "AccessShareLock", False)]


def test_session_that_is_in_nobodys_way(invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """Who reads a table that a statement locks against writes is not named."""
    outside("CREATE TABLE a (i int)")
    folder.write("001_a.sql", "CREATE INDEX ON a (i);")
    with closing(database.connect()) as reader, reader.cursor() as cursor:
        cursor.execute("BEGIN; SELECT * FROM a")
        assert first(invoke(REHEARSE))["sessions"] == []


def test_not_during_a_run(invoke: Invoke, folder: Folder, database: Database) -> None:
    """While a run is at work, a rehearsal waits; it gives up when its own time is over."""
    folder.write("001_a.sql", "SELECT 1;")
    with closing(database.connect()) as runner, runner.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({RunLock.KEY})")
        with pytest.raises(RunLockTimeout):
            invoke(REHEARSE, MIGRATION_TIMEOUT="300ms")


def test_killed_in_the_middle(
    folder: Folder, database: Database, outside: Outside, pg_dump: Dump, invoke: Invoke
) -> None:
    """Kill -9 leaves nothing but what was there, and nobody locked out."""
    outside("CREATE TABLE a (i int)")
    before = pg_dump(database)
    folder.write("001_a.sql", "ALTER TABLE a ADD j int;\nCREATE TABLE b (i int);\nSELECT pg_sleep(60);")
    words = command("rehearse", "--database-url", database.url, "--migrations", str(folder.path))
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    asleep = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
    wait_until(lambda: database.query(asleep))
    process.send_signal(signal.SIGKILL)
    process.wait()
    if database.major() < 14:
        # The server does not check by itself whether its client is there.
        database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()")
    wait_until(lambda: not database.query(asleep))
    assert pg_dump(database) == before
    folder.write("001_a.sql", "ALTER TABLE a ADD j int;")
    assert invoke()["applied_migrations"] == ["001_a.sql"]


def test_user_without_special_rights(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The owner of the tables, who is no superuser as on RDS, can rehearse; a right that is missing is an error."""
    database.execute(
        "DO $$ BEGIN CREATE ROLE rehearse_owner LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;"
        "GRANT CREATE ON SCHEMA public TO rehearse_owner; SET ROLE rehearse_owner; CREATE TABLE a (i int)"
    )
    url = database.url.replace("postgres@", "rehearse_owner@")
    folder.write("001_a.sql", "ALTER TABLE a ALTER i TYPE bigint;")
    with pytest.raises(DbSetupError, match="may not create databases"):
        invoke(REHEARSE, DATABASE_URL=url)
    database.execute(f"GRANT CREATE ON DATABASE {database.name} TO rehearse_owner")
    invoke({"action": "baseline", "target_revision": "none", "confirm": True}, DATABASE_URL=url)
    assert first(invoke(REHEARSE, DATABASE_URL=url))["risk"] == "rewrites"


def test_report_is_bounded(invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """Of many statements those with a risk, and the slowest, are shown, in their order; the rest are counted."""
    outside("CREATE TABLE a (i int)")
    middle = "ALTER TABLE a ADD j int;\n"
    folder.write("001_a.sql", "".join(f"SELECT {n};\n" for n in range(400)) + middle + "SELECT 1;\n" * 300)
    body = invoke(REHEARSE)
    lines = [entry["line"] for entry in body["rehearsal"]]
    assert (len(lines), body["statements_left_out"], lines == sorted(lines)) == (200, 501, True)
    assert [entry["risk"] for entry in body["rehearsal"] if entry["line"] == 401] == ["blocks reads"]


def test_no_password_is_shown(invoke: Invoke, folder: Folder) -> None:
    """What looks like a password in a statement is masked in the report."""
    folder.write("001_a.sql", "CREATE ROLE rehearsed PASSWORD 'canary-1';\nDROP ROLE rehearsed;\n")
    assert "canary" not in json.dumps(invoke(REHEARSE))


def test_on_a_terminal(cli: Cli, folder: Folder, database: Database, outside: Outside) -> None:
    """The table has place, risk, statement and time, each table below its statement; --json has the same."""
    outside("CREATE TABLE a (i int PRIMARY KEY); INSERT INTO a VALUES (1)")
    folder.write("001_a.sql", "-- why\nALTER TABLE a ALTER i TYPE bigint;\nALTER TABLE a ADD j int;\nSELECT 1;")
    folder.write("002_b.sql", "VACUUM a;")
    done = cli("rehearse")
    assert (done.status, done.err) == (0, "")
    lines = [line.rpartition("  ")[0].rstrip() if line.endswith(" ms") else line for line in done.out.splitlines()]
    assert lines[2:8] == [
        "  001_a.sql:2:1  rewrites  ALTER TABLE a ALTER i TYPE bigint;",
        "      public.a: AccessExclusiveLock, rewritten, scanned, 24 kB",
        "  001_a.sql:3:1            ALTER TABLE a ADD j int;",
        "      locked already: public.a",
        "  001_a.sql:4:1            SELECT 1;",
        "Not rehearsed: 002_b.sql: it runs stepwise, which no transaction can hold.",
    ]
    body = json.loads(cli("rehearse", "--json").out)
    assert [entry["already_locked"] for entry in body["rehearsal"]] == [[], ["public.a"], []]


def test_transaction_that_a_statement_ends(database: Database, tmp_path: Path) -> None:
    """The trace notices another transaction than the one it began in, whoever ended that."""
    from migrator.database.connection import connect
    from migrator.database.credentials import from_url
    from migrator.database.deadline import Deadline
    from migrator.errors import RunError
    from migrator.rehearsal.lock_trace import LockTrace
    from migrator.sql.statements import split

    with closing(connect(from_url(database.url), 1.0, Deadline(None))) as connection:
        connection.run("BEGIN")
        trace = LockTrace(connection)
        trace.begin_file("001_a.sql")
        with pytest.raises(RunError, match="ended the transaction"):
            trace.run(connection, next(split("COMMIT AND CHAIN;")))


def test_checks(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The checks are asked after each file; one that finds something fails the rehearsal as it would fail migrate."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);\nINSERT INTO a VALUES (1);")
    folder.write("001_a.check.sql", "SELECT * FROM a WHERE i > 1;")
    folder.write("002_b.sql", "INSERT INTO a VALUES (2);")
    assert invoke(REHEARSE)["success"]
    folder.write("002_b.check.sql", "SELECT true;\nSELECT * FROM a WHERE i > 1;")
    with pytest.raises(CheckFailed, match=r'^002_b\.check\.sql:2:1  the check found this: \{"i":2\}') as caught:
        invoke(REHEARSE)
    assert caught.value.applied == "nothing: a rehearsal is rolled back"
    folder.write("002_b.check.sql", "SELECT nothing FROM a;")
    with pytest.raises(MigrationFailed, match=r"^002_b\.check\.sql:1:8 "):
        invoke(REHEARSE)
    folder.write("002_b.check.sql", "DO $$ BEGIN EXECUTE 'VACUUM'; END $$;")
    with pytest.raises(MigrationFailed, match=r"^002_b\.check\.sql:1:1  VACUUM cannot"):
        invoke(REHEARSE)
    folder.write("002_b.check.sql", "SELECT pg_terminate_backend(0);")
    assert invoke(REHEARSE)["not_rehearsed"][0] == "002_b.sql: its check acts outside the transaction"
    assert database.query("SELECT to_regclass('a'), to_regclass('db_setup.history')") == [(None, None)]
