"""PgBouncer between a run and the server: in session mode all works, in transaction mode files in one transaction do."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from contextlib import closing
from functools import partial

import pytest
from migrator.database import Connection, Deadline
from migrator.errors import MigrationFailed, RunLockTimeout, UnsuitablePooler
from migrator.history import AppliedMigration, ApplyRecord, History, RunLock

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.pgbouncer import MakePool, Pool
from tests.plugins.runs import Cli, Invoke, command
from tests.plugins.waiting import wait_until

LEFT = (
    "SELECT count(*) FROM pg_settings WHERE setting IS DISTINCT FROM reset_val AND name = ANY ('{lock_timeout,statement_timeout,work_mem,"
    "client_connection_check_interval,idle_session_timeout,idle_in_transaction_session_timeout,transaction_timeout,row_security}')"
)
KEYS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
ASLEEP = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"


def left_in(pool: Pool, database: Database) -> list[object]:
    """Return what the next client of a pool finds in each of its sessions: settings, role, tables, statements, path."""
    with closing(pool.connect(database)) as first, first.cursor() as cursor:
        found = []
        for sql in (
            LEFT, "SELECT current_user = session_user", "SELECT count(*) FROM pg_class WHERE relpersistence = 't'",
            "SELECT count(*) FROM pg_prepared_statements", "SELECT current_setting('search_path')", KEYS,
        ):  # fmt: skip
            cursor.execute(sql)
            found.append(cursor.fetchall()[0][0])
        return found


CLEAN = [0, True, 0, 0, '"$user", public', 0]


@pytest.fixture
def files(folder: Folder) -> Folder:
    """Write one file in a transaction, one that makes settings, and one with a check."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write(
        "002_b.sql",
        "SET search_path = public; SET lock_timeout = '7s'; SET work_mem = '5MB'; CREATE TEMP TABLE t (i int); PREPARE p AS SELECT 1; "
        "SET ROLE pg_monitor; RESET ROLE; CREATE TABLE b (i int); SELECT pg_advisory_xact_lock(5);",
    )
    folder.write("003_c.sql", "INSERT INTO a VALUES (1), (2);")
    folder.write("003_c.check.sql", "SELECT count(*) = 2 FROM a;")
    return folder


# ---- session mode


def test_session_mode(invoke: Invoke, files: Folder, database: Database, make_pool: MakePool) -> None:
    """All actions work, stepwise files, too; nothing stays in the pool's sessions, and the row names the key."""
    pool = make_pool("session")
    files.write("004_d.sql", "CREATE INDEX CONCURRENTLY ON a (i); SET work_mem = '6MB'; VACUUM a; DISCARD ALL; CREATE TABLE d (i int);")
    for name in ("001_a", "002_b", "003_c", "004_d"):
        files.write(f"{name}.down.sql", "SELECT 1;")
    url = {"DATABASE_URL": pool.url(database)}
    assert invoke(**url)["applied_migrations"] == ["001_a.sql", "002_b.sql", "003_c.sql", "004_d.sql"]
    assert database.query("SELECT pooled IS NOT NULL FROM db_setup.run_lock") == [(True,)]
    assert left_in(pool, database) == CLEAN
    for event in ({"action": "status"}, {"action": "verify"}, {"action": "rehearse"}, {"action": "repair", "confirm": True}):
        assert invoke(event, **url)["success"]
    assert invoke({"action": "rollback", "target_revision": "base", "confirm": True}, **url)["success"]
    assert left_in(pool, database) == CLEAN


def test_session_mode_one_session(invoke: Invoke, files: Folder, database: Database, make_pool: MakePool) -> None:
    """A pool in session mode with one session serves a run that has it, which is not taken for transaction mode."""
    pool = make_pool("session", default_pool_size=1)
    assert len(invoke(DATABASE_URL=pool.url(database))["applied_migrations"]) == 3


def test_session_mode_killed(database: Database, folder: Folder, invoke: Invoke, make_pool: MakePool) -> None:
    """The lock of a runner that was killed is free, though the pool keeps its session; by way of the pool and without."""
    pool = make_pool("session")
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "SELECT pg_sleep(60);")
    for url in (pool.url(database), database.url):
        words = command("migrate", "--database-url", pool.url(database), "--migrations", str(folder.path))
        with subprocess.Popen(words) as runner:
            wait_until(lambda: database.query(ASLEEP))
            with pytest.raises(RunLockTimeout):
                invoke(DATABASE_URL=url, MIGRATION_TIMEOUT="1")
            runner.send_signal(signal.SIGKILL)
        wait_until(lambda: not database.query(ASLEEP))
        folder.write("002_b.sql", "CREATE TABLE b (i int);")
        started = time.monotonic()
        invoke(DATABASE_URL=url)
        assert time.monotonic() - started < 10
        database.execute("DROP SCHEMA db_setup CASCADE; DROP TABLE a, b")
        folder.write("002_b.sql", "SELECT pg_sleep(60);")


def test_session_that_outlives_its_client(database: Database, make_pool: MakePool) -> None:
    """The row that names a session of the pool is not believed once the client has gone, though the session lives."""
    client = Connection(make_pool("session").connect(database), 1.0, Deadline(60))
    client.is_pooled = True
    RunLock(client).acquire(Deadline(5), lambda _: None)
    client.close()
    with closing(Connection(database.connect(), 1.0, Deadline(60))) as other:
        RunLock(other).acquire(Deadline(3), lambda _: None)
        ((holder, sessions),) = database.query(
            "SELECT (SELECT pid FROM db_setup.run_lock), count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert (holder, sessions) == (other.pid, 2)  # the pool's, and this one


def test_file_that_lets_the_key_go(database: Database, folder: Folder, invoke: Invoke, make_pool: MakePool) -> None:
    """DISCARD ALL in a file, which lets go what makes the row believed, loses the lock only if somebody takes it."""
    pool = make_pool("session")
    folder.write("001_a.sql", "CREATE TABLE a (i int); DISCARD ALL; CREATE TABLE b (i int);")
    folder.write("002_b.sql", "CREATE TABLE c (i int); VACUUM c;")
    assert invoke(DATABASE_URL=pool.url(database))["applied_migrations"] == ["001_a.sql", "002_b.sql"]


# ---- transaction mode


@pytest.mark.parametrize("settings", [{}, {"default_pool_size": 1}, {"server_round_robin": 1}], ids=["", "one", "round robin"])
def test_transaction_mode(
    invoke: Invoke, files: Folder, database: Database, make_pool: MakePool, settings: dict[str, object]
) -> None:  # fmt: skip
    """Files in one transaction are applied, nothing of them or of ours stays in the pool, and no session has the lock."""
    pool = make_pool("transaction", **settings)
    url = {"DATABASE_URL": pool.url(database)}
    assert invoke(**url)["applied_migrations"] == ["001_a.sql", "002_b.sql", "003_c.sql"]
    assert left_in(pool, database) == CLEAN
    assert database.query("SELECT pid FROM db_setup.run_lock") == [(None,)]
    for event in ({}, {"action": "plan"}, {"action": "status"}, {"action": "history"}):
        body = invoke(event, **url)
        assert (body["state"], body["problems"]) == ("up_to_date", [])
    assert left_in(pool, database) == CLEAN


def test_transaction_mode_failed_file(invoke: Invoke, files: Folder, database: Database, make_pool: MakePool) -> None:
    """A file that fails is rolled back with its place, and leaves nothing in the pool; the corrected one is applied."""
    pool = make_pool("transaction", default_pool_size=1)
    files.write("004_d.sql", "CREATE TEMP TABLE t (i int); SET work_mem = '9MB'; PREPARE q AS SELECT 1;\nSELECT 1/0;\nSELECT missing;")
    url = {"DATABASE_URL": pool.url(database)}
    with pytest.raises(MigrationFailed, match=r"004_d\.sql:2:1"):
        invoke(**url)
    assert left_in(pool, database) == CLEAN
    files.write("004_d.sql", "CREATE TABLE d (i int);\nSELECT missing;")
    with pytest.raises(MigrationFailed, match=r"004_d\.sql:2:8"):
        invoke(**url)
    files.write("004_d.sql", "CREATE TABLE d (i int);")
    assert invoke(**url)["applied_migrations"] == ["004_d.sql"]


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("CREATE TABLE d (i int); VACUUM d;", {}),
        ("DO $$ BEGIN EXECUTE 'COMMIT'; COMMIT; END $$;", {}),
        ("SELECT 1;", {"action": "rehearse"}),
        ("SELECT 1;", {"action": "repair", "confirm": True}),
        ("SELECT 1;", {"action": "rollback", "confirm": True}),
        ("SELECT 1;", {"action": "baseline", "target_revision": "4", "confirm": True}),
    ],
)
def test_what_needs_a_session(
    invoke: Invoke, files: Folder, database: Database, make_pool: MakePool, text: str, event: dict[str, object]
) -> None:  # fmt: skip
    """In transaction mode stepwise files, and actions that need a session, are refused before anything is touched."""
    pool = make_pool("transaction")
    files.write("004_d.sql", text)
    url = {"DATABASE_URL": pool.url(database)}
    with pytest.raises(UnsuitablePooler, match="needs one session") as caught:
        invoke(event, **url)
    assert "session mode" in caught.value.fix
    if "EXECUTE" not in text:
        assert database.query("SELECT to_regnamespace('db_setup'), to_regclass('a')") == [(None, None)]
    assert left_in(pool, database) == CLEAN


def test_runners_in_transaction_mode(database: Database, files: Folder, make_pool: MakePool) -> None:
    """Runners at once, some of them not by way of the pool, apply each file once and succeed."""
    pool = make_pool("transaction")
    for number in range(4, 8):
        files.write(f"{number:03}_x.sql", f"CREATE TABLE x{number} (i int); INSERT INTO a VALUES ({number});")
    urls = [pool.url(database)] * 3 + [database.url]
    runners = [
        subprocess.Popen(
            command("migrate", "--json", "--database-url", url, "--migrations", str(files.path)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for url in urls
    ]  # fmt: skip
    done = [(*runner.communicate(timeout=120), runner.returncode) for runner in runners]
    assert [(err, status) for _, err, status in done] == [("", 0)] * len(urls), [out for out, _, status in done if status]
    applied = sorted(name for out, _, _ in done for name in json.loads(out)["applied_migrations"])
    assert applied == sorted({*applied})
    assert len(applied) == 7
    assert database.query("SELECT count(*) FROM a") == [(6,)]
    assert left_in(pool, database) == CLEAN


@pytest.mark.parametrize("first_ends_last", [True, False])
def test_history_of_runs_that_take_turns(database: Database, make_pool: MakePool, *, first_ends_last: bool) -> None:
    """Of runs that have the lock by turns each row gets its own place, and no end of a run makes another's rows suspect."""
    pool = make_pool("transaction")
    runs = [Connection(pool.connect(database), 1.0, Deadline(60)) for _ in range(2)]
    histories, numbers = [History(run) for run in runs], []
    histories[0].create()
    for run, history in zip(runs, histories, strict=True):
        run.shares_sessions = run.is_pooled = True
        numbers.append(history.begin_run("migrate", "test"))

    def apply(which: int, name: str) -> None:
        RunLock(runs[which]).acquire_for_transaction(Deadline(5), lambda _: None)
        record = ApplyRecord(AppliedMigration(name, "1", "0", "applied"), "transaction", numbers[which], histories[which].next_position())
        runs[which].run(f"{record.sql(runs[which])}; COMMIT")

    def end(which: int) -> None:
        RunLock(runs[which]).acquire_for_transaction(Deadline(5), lambda _: None)
        histories[which].end_run(numbers[which], "succeeded", "", {"b": 7})
        runs[which].run("COMMIT")

    later = 0 if first_ends_last else 1
    for step in (
        partial(apply, 0, "a"), partial(apply, 1, "c"), partial(end, 1 - later), partial(apply, later, "b"), partial(end, later),
    ):  # fmt: skip
        step()
        with closing(Connection(database.connect(), 1.0, Deadline(60))) as reader:
            assert History(reader).tampered_rows() == []
    assert database.query("SELECT position, name FROM db_setup.history ORDER BY 1") == [(1, "a"), (2, "c"), (3, "b")]
    with closing(Connection(database.connect(), 1.0, Deadline(60))) as reader:
        assert History(reader).check() == ([], True)
    for run in runs:
        run.close()


def test_session_holder_keeps_transactions_out(database: Database, files: Folder, invoke: Invoke, make_pool: MakePool) -> None:
    """A run that has a session keeps one out that has none, and one of an earlier version does."""
    pool = make_pool("transaction")
    invoke()
    files.write("004_d.sql", "CREATE TABLE d (i int);")
    with closing(database.connect()) as older, older.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(1684173925, 1952804208)")
        with pytest.raises(RunLockTimeout, match=f"pid {older.info.backend_pid} "):
            invoke(DATABASE_URL=pool.url(database), MIGRATION_TIMEOUT="1")
        cursor.execute("SELECT pg_advisory_unlock_all()")
        cursor.execute(
            "UPDATE db_setup.run_lock SET pid = a.pid, backend_start = a.backend_start, role = a.usesysid, pooled = NULL "
            "FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()"
        )
        with pytest.raises(RunLockTimeout, match=f"pid {older.info.backend_pid} "):
            invoke(DATABASE_URL=pool.url(database), MIGRATION_TIMEOUT="1")
    assert invoke(DATABASE_URL=pool.url(database))["applied_migrations"] == ["004_d.sql"]


def test_script_for_psql_by_way_of_a_pool(database: Database, files: Folder, cli: Cli, make_pool: MakePool) -> None:
    """The script of plan --sql can be made in transaction mode, and is that of any other connection."""
    pool = make_pool("transaction")
    script = cli("plan", "--sql", DATABASE_URL=pool.url(database))
    assert (script.status, "SET LOCAL lock_timeout" in script.out) == (0, False)


def test_statement_mode(invoke: Invoke, files: Folder, database: Database, make_pool: MakePool) -> None:
    """A pooler without transactions is refused by everything."""
    pool = make_pool("statement")
    for event in ({}, {"action": "status"}):
        with pytest.raises(UnsuitablePooler, match="statement mode"):
            invoke(event, DATABASE_URL=pool.url(database))
