"""The run lock: the row that names its holder's session, and the key of earlier versions beside it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
import pytest
from migrator.database import Connection, Deadline
from migrator.errors import RunLockTimeout
from migrator.history import RunLock

from tests.plugins.databases import Database, MakeDatabase
from tests.plugins.folders import Folder
from tests.plugins.runs import PRODUCT, Invoke, command
from tests.plugins.waiting import wait_until

KEY = "SELECT pg_advisory_lock(1684173925, 1952804208)"  # as earlier versions take it
ROW = "SELECT pid, token, pooled FROM db_setup.run_lock"
# Takes the lock, says so, and sees to it that nobody else does, until it is killed.
HOLDER = """
import sys
sys.path.insert(0, sys.argv[1])
import psycopg2
from migrator.database import Connection, Deadline
from migrator.history import RunLock
raw = psycopg2.connect(sys.argv[2])
raw.autocommit = True
connection = Connection(raw, 1.0, Deadline(60))
connection.run(connection.settings_sql())
RunLock(connection).acquire(Deadline(60), lambda _: None)
connection.run("INSERT INTO inside VALUES (1, pg_backend_pid()) ON CONFLICT (one) DO UPDATE SET pid = excluded.pid")
while True:  # nobody else was here meanwhile
    found = connection.rows("SELECT pid = pg_backend_pid() FROM inside")
    assert found == [(True,)], found
    connection.run(f"BEGIN; UPDATE inside SET changes = changes + 1 WHERE {connection.holds_run_lock}; COMMIT")
"""


@contextmanager
def session(database: Database) -> Iterator[Connection]:
    """Open a session as the product has one."""
    with closing(Connection(database.connect(), 1.0, Deadline(60))) as connection:
        yield connection


def take(connection: Connection, seconds: float = 0.3) -> bool:
    """Take the run lock, or return that somebody else has it."""
    try:
        RunLock(connection).acquire(Deadline(seconds), lambda _: None)
    except RunLockTimeout:
        return False
    return True


@pytest.fixture
def stranger(database: Database) -> Iterator[str]:
    """Make a login that has no rights on what db_setup makes."""
    name = f"stranger_of_{database.name}"
    database.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    database.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}'")
    database.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_one_holder(database: Database) -> None:
    """One session has the lock until it ends; it may take it again; the next one knows who has it."""
    with session(database) as first, session(database) as second:
        assert take(first)
        assert take(first)
        with pytest.raises(RunLockTimeout, match=f"pid {first.pid} "):
            RunLock(second).acquire(Deadline(0.2), lambda _: None)
        first.close()
        assert take(second, 10)
        assert [row[0] for row in database.query(ROW)] == [second.pid]


def test_holders_that_are_killed(database: Database) -> None:
    """Of runners that are killed at any moment, and others that come at once, there are never two inside."""
    database.execute("CREATE TABLE inside (one int PRIMARY KEY, pid int, changes int DEFAULT 0)")
    chance = random.Random(6)  # noqa: S311 - picks victims
    words = [sys.executable, "-c", HOLDER, str(PRODUCT), database.url]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    running = [start() for _ in range(3)]
    try:
        for _ in range(12):
            wait_until(lambda: database.query("SELECT 1 FROM inside"))
            time.sleep(chance.uniform(0, 0.05))  # at any moment
            victim = chance.choice(running)
            victim.kill()
            victim.communicate()
            running[running.index(victim)] = start()
    finally:
        for one in running:
            one.kill()
    assert [one.communicate()[1] for one in running] == [""] * 3


@pytest.mark.parametrize("round_", range(2))
def test_first_runs_of_all(database: Database, folder: Folder, round_: int) -> None:
    """Eight first runs that make schema and table at once succeed; each file is applied once, by one of them."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    words = command("migrate", "--json", "--database-url", database.url, "--migrations", str(folder.path))
    runs = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    done = [(*run.communicate(timeout=120), run.returncode) for run in runs]
    assert [(err, status) for _, err, status in done] == [("", 0)] * 8
    assert sorted(len(json.loads(out)["applied_migrations"]) for out, _, _ in done) == [0] * 7 + [1]
    assert database.query("SELECT count(*) FROM db_setup.run_lock") == [(1,)]


@pytest.mark.parametrize("keep", [KEY, f"BEGIN; {KEY.replace('lock(', 'xact_lock(')}; PREPARE TRANSACTION 'stranger'"])
def test_stranger_with_the_key(
    invoke: Invoke, folder: Folder, database: Database, stranger: str, keep: str
) -> None:  # fmt: skip
    """Who has the key of earlier versions and no rights is named in a warning, and holds nobody up."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "CREATE TABLE b (i int); VACUUM b;")
    folder.write("001_a.down.sql", "DROP TABLE a;")
    folder.write("002_b.down.sql", "DROP TABLE b;")
    with closing(psycopg2.connect(database.url, user=stranger)) as other, other.cursor() as cursor:
        other.autocommit = True
        cursor.execute(keep)
        try:
            body = invoke()
            back = invoke({"action": "rollback", "target_revision": "base", "confirm": True})
        finally:
            if "PREPARE" in keep:
                cursor.execute("ROLLBACK PREPARED 'stranger'")
        assert body["applied_migrations"] == ["001_a.sql", "002_b.sql"]
        who = "a prepared transaction" if "PREPARE" in keep else f'pid {other.info.backend_pid} (role "{stranger}")'
        assert [text for text in body["warnings"] if text.startswith(who)]
        assert [text for text in back["warnings"] if text.startswith(who)]


def test_stranger_cannot_forge_the_row(database: Database, stranger: str, invoke: Invoke, folder: Folder) -> None:
    """Who has no rights cannot read, lock or write the row, nor make a session that counts as its holder's."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    with closing(psycopg2.connect(database.url, user=stranger)) as other, other.cursor() as cursor:
        other.autocommit = True
        for sql in (
            ROW, "SELECT FROM db_setup.run_lock FOR UPDATE", "DO $$ BEGIN LOCK TABLE db_setup.run_lock; END $$", "TRUNCATE db_setup.run_lock",
            "UPDATE db_setup.run_lock SET pid = pg_backend_pid()", "DROP TABLE db_setup.run_lock", "DELETE FROM db_setup.run_lock",
        ):  # fmt: skip
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(sql)


def take_other(database: Database) -> bool:
    """Return whether another session can take the lock now."""
    with session(database) as other:
        return take(other)


@pytest.mark.parametrize(
    "stale",
    [
        "pid = (SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'checkpointer')",
        "pid = {pid}, backend_start = now() - interval '1 day', role = 10",
        "pid = {pid}, backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = {pid}), role = 1",
        "pid = {elsewhere}, role = 10, backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = {elsewhere})",
        "pid = {pid}, role = 10, backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = {pid}), pooled = 7",
    ],
    ids=["no backend", "another start", "another role", "another database", "pooled, without its key"],
)
def test_row_that_is_not_believed(database: Database, make_database: MakeDatabase, stale: str) -> None:
    """A row that names anything but the very session that took it keeps nobody out."""
    with session(database) as first:
        assert take(first)
    with closing(database.connect()) as living, closing(make_database().connect()) as elsewhere:
        pids = {"pid": living.info.backend_pid, "elsewhere": elsewhere.info.backend_pid}
        database.execute(f"UPDATE db_setup.run_lock SET {stale.format(**pids)}")
        assert take_other(database)


def test_row_of_a_living_session_is_believed(database: Database) -> None:
    """The same row keeps others out while its session lives, and, behind a pooler, has the key that it names."""
    with session(database) as first:
        assert take(first)
        assert not take_other(database)
        database.execute("UPDATE db_setup.run_lock SET pooled = 7")
        first.run("SELECT pg_advisory_lock(1684173925, 7)")
        assert not take_other(database)
        first.run("SELECT pg_advisory_unlock(1684173925, 7), pg_advisory_unlock(1684173925, 1952804208)")
        assert take_other(database)


def test_copy_of_a_database(database: Database, make_database: MakeDatabase, invoke: Invoke, folder: Folder) -> None:
    """In a copy that was made as a template, a row that names a session of the original keeps nobody out."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    copy = make_database(f"TEMPLATE {database.name}")
    with session(database) as holder:
        assert take(holder)
        (row,) = database.query("SELECT pid, backend_start, role, token FROM db_setup.run_lock")
        copy.execute("UPDATE db_setup.run_lock SET (pid, backend_start, role, token) = (%s, %s, %s, %s)", *row)
        folder.write("002_b.sql", "CREATE TABLE b (i int);")
        assert invoke(DATABASE_URL=copy.url)["applied_migrations"] == ["002_b.sql"]
        assert not take_other(database)


def test_record_of_another_session(database: Database) -> None:
    """What a record of a file is bound to does not hold in a session that has not taken the lock, or has lost the row."""
    with session(database) as first, session(database) as second:
        assert first.rows(f"SELECT {first.holds_run_lock}") == [(False,)]
        assert take(first)
        assert first.rows(f"SELECT {first.holds_run_lock}") == [(True,)]
        assert second.rows(f"SELECT {first.holds_run_lock}") == [(False,)]
        database.execute("UPDATE db_setup.run_lock SET token = 'another'")
        assert first.rows(f"SELECT {first.holds_run_lock}") == [(False,)]


def test_key_of_an_earlier_version(database: Database, invoke: Invoke, folder: Folder) -> None:
    """A runner of an earlier version, which takes the key alone, keeps this one out, and is kept out by it."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    tries = KEY.replace("pg_advisory_lock", "pg_try_advisory_lock")
    with session(database) as holder:
        assert take(holder)
        assert database.query(tries) == [(False,)]
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    with closing(database.connect()) as older, older.cursor() as cursor:
        cursor.execute(tries)
        assert cursor.fetchall() == [(True,)]
        with pytest.raises(RunLockTimeout, match=f"pid {older.info.backend_pid} "):
            invoke(MIGRATION_TIMEOUT="0.5")
    assert invoke()["applied_migrations"] == ["002_b.sql"]


def test_history_of_an_earlier_version(database: Database, invoke: Invoke, folder: Folder) -> None:
    """The table is created where a history has none, by a run that writes; a rehearsal leaves none."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    database.execute("DROP TABLE db_setup.run_lock")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    for event in ({"action": "rehearse"}, {"action": "plan"}, {"action": "status"}, {"action": "history"}):
        assert invoke(event)["success"]
    assert database.query("SELECT to_regclass('db_setup.run_lock')") == [(None,)]
    assert invoke()["applied_migrations"] == ["002_b.sql"]
    assert database.query("SELECT count(*) FROM db_setup.run_lock") == [(1,)]


def test_row_that_was_deleted(database: Database, invoke: Invoke, folder: Folder) -> None:
    """A run puts the row back that somebody has deleted."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    database.execute("DELETE FROM db_setup.run_lock")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    assert invoke()["applied_migrations"] == ["002_b.sql"]


def test_nothing_to_do_takes_no_lock(database: Database, invoke: Invoke, folder: Folder) -> None:
    """A deploy with nothing to do does not touch the row."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    row = "SELECT ctid, xmin, xmax, pid FROM db_setup.run_lock"
    before = database.query(row)
    invoke()
    assert database.query(row) == before


def test_default_isolation_level(database: Database) -> None:
    """Where transactions are serializable by default, the lock is taken and refused all the same."""
    database.execute(f"ALTER DATABASE {database.name} SET default_transaction_isolation = 'serializable'")
    with session(database) as first:
        assert take(first)
        assert not take_other(database)
    wait_until(lambda: take_other(database))
