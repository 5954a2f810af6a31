"""One runner at a time: several processes on one database, locks of other sessions, the deadline, standbys."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from migrator.cli.local_server import LocalServer
from migrator.cli.local_server.process import run_as, server_account
from migrator.errors import DeadlineReached, LockTimeout, ReadOnlyServer, RunLockTimeout, UnsupportedServer

from tests.oracle.psql_recorder import Recorder
from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.postgres import client_program
from tests.plugins.runs import Invoke, LambdaContext, command
from tests.plugins.server import SETTINGS
from tests.plugins.waiting import concurrently, wait_until, wait_until_given_way

LOCK = "SELECT pg_advisory_lock(1684173925, 1952804208)"
HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
ASLEEP = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
SESSION = "application_name LIKE 'db_setup%%' AND datname = current_database()"
OURS = f"SELECT count(*) FROM pg_stat_activity WHERE {SESSION}"


def wait_for(database: Database, query: str, count: int) -> None:
    """Wait until a query counts what is wanted."""
    wait_until(lambda: database.query(query) == [(count,)])


def test_waiting_runner_reports_who_did_the_work(database: Database, folder: Folder) -> None:
    """A runner that waited and found nothing left says which run did it."""
    folder.write("001_a.sql", "DO $$ BEGIN WHILE NOT pg_try_advisory_xact_lock(7) LOOP PERFORM pg_sleep(0.05); END LOOP; END $$;")
    words = command("migrate", "--database-url", database.url, "--migrations", str(folder.path))
    holder = database.connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(7)")
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as first, closing(holder):
        wait_for(database, HELD, 2)  # the holder's, and the run lock
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as second:
            assert second.stderr is not None
            said = next((line for line in second.stderr if "waiting: another runner is at work: pid" in line), None)
            holder.close()
            out, _ = second.communicate()
        assert (first.wait(), second.returncode) == (0, 0)
    assert said is not None
    assert "Done meanwhile by run 1" in out


def test_run_lock_not_to_be_had(invoke: Invoke, database: Database, folder: Folder) -> None:
    """A run that cannot get the run lock in its time names the holder and touches nothing."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    holder = database.connect()
    with holder.cursor() as cursor:
        cursor.execute("SET application_name = 'the holder'")
        cursor.execute(LOCK)
        with pytest.raises(RunLockTimeout, match='"the holder"'):
            invoke(MIGRATION_TIMEOUT="500ms")
    holder.close()
    assert database.query("SELECT to_regclass('a'), to_regclass('db_setup.history')") == [(None, None)]


@pytest.fixture
def locked(invoke: Invoke, database: Database) -> Iterator[psycopg2.extensions.connection]:
    """Hold a table's lock as an application would; the table is there, and no file has made it."""
    database.execute("CREATE TABLE t (i int)")
    invoke({"action": "baseline", "target_revision": "none", "confirm": True})
    holder = psycopg2.connect(database.url, application_name="the application")
    with holder.cursor() as cursor:
        cursor.execute("LOCK TABLE t IN ACCESS SHARE MODE")
    yield holder
    holder.close()


def test_table_locked_for_a_while(
    invoke: Invoke, folder: Folder, database: Database, locked: psycopg2.extensions.connection,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A file that meets a lock gives way, tries again, and succeeds when the lock is gone."""
    folder.write("001_t.sql", "INSERT INTO t VALUES (1);\nALTER TABLE t ADD COLUMN j int;")

    def leave() -> None:
        wait_until_given_way(database)
        locked.rollback()

    with concurrently(leave):
        body = invoke(LOCK_TIMEOUT="100ms", MIGRATION_TIMEOUT="20")
    assert body["applied_migrations"] == ["001_t.sql"]
    assert "migration.blocked" in capsys.readouterr().out


def test_table_locked_too_long(
    invoke: Invoke, folder: Folder, database: Database, locked: psycopg2.extensions.connection
) -> None:
    """When the time is over the error has the statement's place and names who blocks; nothing was applied."""
    folder.write("001_t.sql", "INSERT INTO t VALUES (1);\nALTER TABLE t ADD COLUMN j int;")
    with pytest.raises(LockTimeout) as caught:
        invoke(LOCK_TIMEOUT="100ms", MIGRATION_TIMEOUT="2")
    message = str(caught.value)
    assert message.startswith("001_t.sql:2:1  canceling statement due to lock timeout (55P03)")
    assert f'blocked by pid {locked.info.backend_pid} (application "the application", idle in transaction)' in message
    locked.rollback()
    assert database.query("SELECT * FROM t") == []


def test_blockers_that_cannot_be_looked_up(
    invoke: Invoke, folder: Folder, database: Database, locked: psycopg2.extensions.connection
) -> None:
    """The names are a help only: where the session that asks for them is ended, the run goes on, and says so."""
    folder.write("001_t.sql", "ALTER TABLE t ADD COLUMN j int;")
    asking = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ 'pg_blocking_pids' AND pid <> pg_backend_pid() AND datname = current_database()"
    with pytest.raises(LockTimeout, match=r"blocked by .*a session that could not be looked up"):  # noqa: SIM117
        with concurrently(lambda: wait_until(lambda: database.query(asking))):
            invoke(LOCK_TIMEOUT="100ms", MIGRATION_TIMEOUT="4")


def test_lock_is_waited_for_once_an_attempt(
    invoke: Invoke, folder: Folder, database: Database, locked: psycopg2.extensions.connection,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Between two attempts the queue behind the lock gets its turn: no attempt asks for it twice."""
    database.execute("CREATE SEQUENCE asked")
    folder.write("001_t.sql", "SELECT nextval('asked');\nALTER TABLE t ADD COLUMN j int;")

    def leave() -> None:
        wait_until(lambda: database.query("SELECT 1 FROM asked WHERE last_value >= 3"))
        locked.rollback()

    with concurrently(leave):
        invoke(LOCK_TIMEOUT="50ms", MIGRATION_TIMEOUT="20")
    blocked = capsys.readouterr().out.count("migration.blocked")
    assert blocked >= 2
    assert database.query("SELECT last_value FROM asked") == [(blocked + 1,)]  # the last attempt got the lock


SLOW = "CREATE TABLE a (i int);\nSELECT pg_sleep(60);"
STUBBORN = """DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$"""


@pytest.mark.parametrize("text", [SLOW, STUBBORN], ids=["slow", "swallows cancels"])
def test_deadline(invoke: Invoke, folder: Folder, database: Database, text: str) -> None:
    """At its deadline a run cancels, then cuts, and says what was applied and what is left; the server is free.

    A server older than 14 does not look whether its client is there while a statement that swallows cancels is at
    work: that session keeps the run lock, and no run passes it, until somebody ends it.
    """
    folder.write("001_a.sql", "CREATE TABLE done (i int);")
    folder.write("002_b.sql", text)
    folder.write("003_c.sql", "SELECT 1;")
    started = time.monotonic()
    with pytest.raises(DeadlineReached) as caught:
        invoke(MIGRATION_TIMEOUT="4")  # the first second of a busy machine may be over before a file is begun
    assert time.monotonic() - started < 11
    message = str(caught.value)
    left = "left: 002_b.sql, 003_c.sql"
    if text == STUBBORN:  # the connection was cut while its COMMIT was on the way, too
        left = "whether 002_b.sql was committed is not known; left: 003_c.sql"
    assert f"001_a.sql (applied in this run); {left}" in message
    if text == SLOW:
        assert message.startswith("002_b.sql:1:1  the time for this run is over; one of these 2 statements, to line 2, was")
        assert "002_b.sql begins anew" in message
    assert database.query("SELECT name FROM db_setup.history") == [("001_a.sql",)]
    if text == STUBBORN and database.major() < 14:
        with pytest.raises(RunLockTimeout):
            invoke(MIGRATION_TIMEOUT="500ms")
        database.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {SESSION}")
    wait_for(database, OURS, 0)
    folder.write("002_b.sql", "CREATE TABLE a (i int);")
    assert invoke()["applied_migrations"] == ["002_b.sql", "003_c.sql"]


def test_lambda_deadline(invoke: Invoke, folder: Folder) -> None:
    """The function leaves before Lambda ends it: a fifth of a short time, 20 s of a long one."""
    folder.write("001_a.sql", SLOW)
    with pytest.raises(DeadlineReached):
        invoke(context=LambdaContext(remaining_ms=1500))


def test_interrupted_by_a_person(database: Database, folder: Folder) -> None:
    """Ctrl-C ends a statement that runs on the server at once, and leaves nothing of its file."""
    folder.write("001_a.sql", SLOW)
    words = command("migrate", "--database-url", database.url, "--migrations", str(folder.path))
    runner = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    wait_for(database, ASLEEP, 1)
    started = time.monotonic()
    runner.send_signal(signal.SIGINT)
    _, err = runner.communicate(timeout=20)
    assert time.monotonic() - started < 2
    assert (runner.returncode, "interrupted" in err, "Traceback" in err) == (130, True, False)
    assert database.query("SELECT to_regclass('a')") == [(None,)]


def test_orphan_of_a_killed_runner_ends(database: Database, folder: Folder) -> None:
    """The session of a runner that was killed ends within 2 s, and its lock with it; before PostgreSQL 14 with its time."""
    folder.write("001_a.sql", SLOW)
    words = command("migrate", "--database-url", database.url, "--migrations", str(folder.path))
    runner = subprocess.Popen(words, env={**os.environ, "MIGRATION_TIMEOUT": "10"})
    wait_for(database, ASLEEP, 1)
    runner.kill()
    runner.wait()
    started = time.monotonic()
    wait_for(database, HELD, 0)
    assert time.monotonic() - started < (2 if database.major() >= 14 else 10)


def test_file_that_releases_all_advisory_locks(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A file may drop the run lock; the next file takes it again, and records what it does."""
    folder.write("001_a.sql", "SELECT pg_advisory_unlock_all();")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    assert invoke()["applied_migrations"] == ["001_a.sql", "002_b.sql"]


@contextmanager
def lock_taken(database: Database) -> Iterator[list[str]]:
    """Have another session take the run lock, which a file has dropped, as soon as the run sleeps; yield when it did."""
    seen: list[str] = []
    with closing(database.connect()) as thief:

        def take() -> None:
            with thief.cursor() as cursor:
                wait_for(database, ASLEEP, 1)
                cursor.execute(LOCK)
                seen.append("taken")

        with concurrently(take):
            yield seen


# A file that names the function has the lock again before its COMMIT.
UNLOCK = "DO $$ BEGIN EXECUTE 'SELECT pg_advi' || 'sory_unlock_all()'; END $$; SELECT pg_sleep(0.6);"


def test_lock_lost_to_another(invoke: Invoke, folder: Folder, database: Database) -> None:
    """When another session takes the lock that a file has dropped, the next file is not applied."""
    folder.write("001_a.sql", UNLOCK)
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    with lock_taken(database) as seen, pytest.raises(Exception, match=r"002_b\.sql: the run lock was lost"):
        invoke()
    assert seen == ["taken"]
    assert database.query("SELECT name FROM db_setup.history") == [("001_a.sql",)]
    assert database.query("SELECT to_regclass('b')") == [(None,)]


def test_lock_lost_before_the_end_of_a_stepwise_file(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A stepwise file is not recorded as applied while another session has the lock; a re-run records it."""
    folder.write("001_a.sql", "CREATE TABLE a (i int); VACUUM a;")
    folder.write("001_a.check.sql", "SELECT pg_advisory_unlock_all() IS NOT NULL AND pg_sleep(0.6) IS NOT NULL;")
    with lock_taken(database), pytest.raises(Exception, match=r"001_a\.sql: the run lock was lost"):
        invoke()
    assert database.query("SELECT name, state FROM db_setup.history") == [("001_a.sql", "running")]
    assert invoke()["applied_migrations"] == ["001_a.sql"]


@pytest.mark.parametrize("down", ["DROP TABLE a;", "DROP TABLE a; VACUUM;"], ids=["transaction", "stepwise"])
def test_rollback_whose_lock_was_lost(invoke: Invoke, folder: Folder, database: Database, down: str) -> None:
    """When another session takes the lock that a down migration has dropped, the next one is not run."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("001_a.down.sql", down)
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    folder.write("002_b.down.sql", f"DROP TABLE b; {UNLOCK}")
    invoke()
    with lock_taken(database), pytest.raises(Exception, match=r"001_a\.down\.sql: the run lock was lost"):
        invoke({"action": "rollback", "target_revision": "base", "confirm": True})
    assert database.query("SELECT name, state FROM db_setup.history") == [("001_a.sql", "applied")]
    assert database.query("SELECT to_regclass('a') IS NOT NULL") == [(True,)]


def test_read_only_session(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A session that can only read is refused before anything is said about the state."""
    database.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    for event in ({}, {"action": "status"}):
        with pytest.raises(ReadOnlyServer, match="read-only"):
            invoke(event)


@pytest.fixture
def standby(server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """Start a standby of the session's server."""
    folder = server.folder.parent / f"standby{os.environ.get('PYTEST_XDIST_WORKER', '')}"
    copy = LocalServer(folder, SETTINGS, {"PGBIN": str(server.binaries.folder)})
    account = server_account()
    copy.folder.mkdir(mode=0o711)
    (copy.folder / "data").mkdir(mode=0o700)
    if account is not None:
        os.chown(copy.folder / "data", account.uid, account.gid)
    base = [str(client_program(server, "pg_basebackup")), "-h", str(server.socket_folder), "-U", "postgres"]
    run_as(account, [*base, "-D", str(copy.folder / "data"), "-R", "-c", "fast"])
    yield copy.start()
    copy.remove()


def test_standby(standby: LocalServer, invoke: Invoke) -> None:
    """A standby is refused, for it would grant the lock and might be behind."""
    for event in ({}, {"action": "status"}):
        with pytest.raises(ReadOnlyServer, match="standby"):
            invoke(event, DATABASE_URL=standby.url)



def test_server_that_is_too_old(invoke: Invoke) -> None:
    """A PostgreSQL older than 12 is refused by its version, before anything is sent to it."""
    with Recorder(Path("psql")) as old:
        old.settings |= {"server_version": "11.22", "DateStyle": "ISO, MDY", "integer_datetimes": "on"}
        host, port = old.server_address[:2]
        with pytest.raises(UnsupportedServer, match="the server is PostgreSQL 11"):
            invoke(DATABASE_URL=f"postgresql://u@{host!s}:{port}/d?sslmode=disable&gssencmode=disable")
