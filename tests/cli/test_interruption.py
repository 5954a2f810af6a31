"""SIGINT and SIGTERM at any time: the end is recorded, what was applied is named, and the exit status is 130."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from migrator.history import RunLock

from tests.plugins.answers import check_answer
from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import PRODUCT, Done, command

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
JSON = pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
RUN_LOCKS = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def wait_until(reached: Callable[[], bool]) -> None:
    """Wait until a point is reached."""
    end = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < end, "the point was never reached"
        time.sleep(0.01)


def interrupted(environ: dict[str, str], number: int, reached: Callable[[], bool], *words: str) -> Done:
    """Run the command line, send it a signal once a point is reached, and return what it left within 5 seconds."""
    with subprocess.Popen(
        command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environ},
    ) as process:  # fmt: skip
        wait_until(lambda: reached() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        sent = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert time.monotonic() - sent < 5
    return Done(process.returncode, out, err)


def sessions(database: Database, condition: str) -> bool:
    """Return whether a session of db_setup on the database meets a condition."""
    rows = database.query(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'db_setup %%' "
        f"AND {condition}"
    )
    return bool(rows)


def environment(database: Database, folder: Folder) -> dict[str, str]:
    """Return the variables of a run on the test's database and folder."""
    return {"DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder.path)}


def error_of(done: Done, options: list[str]) -> str:
    """Return the text of the error, and check that it is where it belongs, with the documented code and status."""
    assert (done.status, "Traceback" in done.err) == (130, False), done
    if not options:
        assert done.out == ""
        assert done.err.splitlines()[-1] == "[interrupted]"
        return done.err
    body = json.loads(done.out)
    check_answer(body)
    assert (body["code"], body["action"], done.err) == ("interrupted", "migrate", "")
    return str(body["message"])


def assert_nothing_locked(database: Database) -> None:
    """Nobody holds the run lock, and no session of ours is left."""
    wait_until(lambda: not sessions(database, "true"))
    assert database.query(RUN_LOCKS) == [(0,)]


@SIGNALS
@JSON
def test_in_a_statement(database: Database, folder: Folder, number: int, options: list[str]) -> None:
    """In the second file the statement is cancelled, the run's end recorded, both files named, and a re-run ends well."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    slow = folder.write("002_b.sql", "CREATE TABLE b (i int); SELECT pg_sleep(60);")
    environ = environment(database, folder)
    done = interrupted(environ, number, lambda: sessions(database, "wait_event = 'PgSleep'"), "migrate", *options)
    error = error_of(done, options)
    assert "001_a.sql (applied in this run); left: 002_b.sql" in error
    if options:
        body = json.loads(done.out)
        assert (body["applied_migrations"], body["pending_migrations"]) == (["001_a.sql"], ["002_b.sql"])
        assert body["failed_migration"] == "002_b.sql"
    outcome, message = database.query("SELECT outcome, message FROM db_setup.runs")[0]
    assert (outcome, "interrupted" in message, "002_b.sql" in message) == ("failed", True, True)
    assert database.query("SELECT name, state FROM db_setup.history") == [("001_a.sql", "applied")]
    assert_nothing_locked(database)
    slow.write_text("CREATE TABLE b (i int);")
    assert subprocess.run(command("migrate"), env={**os.environ, **environ}, capture_output=True, check=False).returncode == 0


@contextmanager
def holding(database: Database, sql: str) -> Iterator[None]:
    """Keep a lock in a session of somebody else."""
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        yield


@SIGNALS
@JSON
def test_while_waiting_for_the_run_lock(database: Database, folder: Folder, number: int, options: list[str]) -> None:
    """A run that waits for another one ends without having begun."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    with holding(database, f"SELECT pg_advisory_lock({RunLock.KEY})"):
        waits = "query LIKE '%%pg_try_advisory_lock%%'"
        done = interrupted(environment(database, folder), number, lambda: sessions(database, waits), "migrate", *options)
    assert "interrupted" in error_of(done, options)
    assert database.query("SELECT to_regclass('a'), to_regclass('db_setup.runs')") == [(None, None)]
    assert_nothing_locked(database)


@SIGNALS
@JSON
def test_while_waiting_for_a_table_lock(database: Database, folder: Folder, number: int, options: list[str]) -> None:
    """A run that pauses before it tries a locked table again ends, with its end recorded and the file named."""
    database.execute("CREATE TABLE busy (i int)")
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "ALTER TABLE busy ADD j int;")
    environ = {**environment(database, folder), "LOCK_TIMEOUT": "50ms"}
    subprocess.run(command("baseline", "--target", "none", "--yes"), env={**os.environ, **environ}, capture_output=True, check=True)
    with holding(database, "BEGIN; LOCK TABLE busy"):
        started = "state LIKE 'idle%%' AND query LIKE '%%ROLLBACK%%'"
        done = interrupted(environ, number, lambda: sessions(database, started), "migrate", *options)
    error = error_of(done, options)
    assert "001_a.sql" in error
    assert "002_b.sql" in error
    runs = database.query("SELECT outcome, message FROM db_setup.runs WHERE action = 'migrate'")
    assert [(outcome, "interrupted" in message) for outcome, message in runs] == [("failed", True)]
    assert_nothing_locked(database)


@SIGNALS
@JSON
def test_before_the_server_answers(folder: Folder, number: int, options: list[str]) -> None:
    """A run that waits in the driver for a server that accepts and says nothing ends at once, not with its time-out."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        accepted: list[socket.socket] = []

        def called() -> bool:
            try:
                accepted.append(listener.accept()[0])
            except BlockingIOError:
                return False
            return True

        environ = {"DATABASE_URL": f"postgresql://u@127.0.0.1:{listener.getsockname()[1]}/d?sslmode=disable",
                   "MIGRATIONS_DIR": str(folder.path)}  # fmt: skip
        done = interrupted(environ, number, called, "migrate", *options)
        for connection in accepted:
            connection.close()
    assert "interrupted" in error_of(done, options)


@SIGNALS
def test_in_a_read(database: Database, folder: Folder, number: int) -> None:
    """Outside a run, too, no statement outlives the signal: status on a history that somebody has locked."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    environ = {**environment(database, folder), "LOCK_TIMEOUT": "60s"}
    subprocess.run(command("migrate"), env={**os.environ, **environ}, capture_output=True, check=True)
    with holding(database, "BEGIN; LOCK TABLE db_setup.history"):
        done = interrupted(environ, number, lambda: sessions(database, "wait_event_type = 'Lock'"), "status")
    assert (done.status, done.out) == (130, "")
    assert done.err.splitlines() == [
        "error: interrupted", "Fix: run it again: what was committed is recorded, and a re-run carries on from there",
        "[interrupted]",
    ]  # fmt: skip


@SIGNALS
def test_while_the_end_is_recorded(database: Database, folder: Folder, number: int) -> None:
    """A run that has applied everything records that, also when it is interrupted at that moment."""
    folder.write("001_a.sql", "CREATE TABLE a (i int); SELECT pg_sleep(1);")
    environ = {**os.environ, **environment(database, folder), "LOCK_TIMEOUT": "60s"}
    with subprocess.Popen(command("migrate"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as run:
        wait_until(lambda: sessions(database, "wait_event = 'PgSleep'"))
        with holding(database, "BEGIN; SELECT 1 FROM db_setup.runs FOR UPDATE"):
            wait_until(lambda: sessions(database, "wait_event_type = 'Lock'"))
            run.send_signal(number)
            time.sleep(0.5)
            assert sessions(database, "wait_event_type = 'Lock'")
        out, err = run.communicate(timeout=30)
    assert (run.returncode, err, "Applied 1 migration" in out) == (0, "", True)
    assert database.query("SELECT outcome FROM db_setup.runs") == [("succeeded",)]


@SIGNALS
def test_while_the_program_is_loaded(tmp_path: Path, number: int) -> None:
    """A signal that comes before the command line is read has its JSON object and its exit status, too."""
    program = (
        "import builtins, os, runpy\n"
        "load = builtins.__import__\n"
        "def strike(name, *rest):\n"
        f"    name == 'migrator.cli.terminal' and os.kill(os.getpid(), {int(number)})\n"
        "    return load(name, *rest)\n"
        "builtins.__import__ = strike\n"
        f"runpy.run_path({str(PRODUCT)!r}, run_name='__main__')"
    )
    words = [sys.executable, "-c", program, "migrate", "--json", "--migrations", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    error_of(Done(done.returncode, done.stdout, done.stderr), ["--json"])


def test_signals_of_the_caller_come_back(tmp_path: Path) -> None:
    """Whoever calls main in a process of their own has their handlers again afterwards."""
    from migrator.cli.main import main

    earlier = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(["lint", "--migrations", str(tmp_path)]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == earlier


_SIGNAL_AFTER_PRINT = """
import builtins, os, signal, sys
sys.path.insert(0, sys.argv[1])
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
from migrator.cli.main import main
real = builtins.print
def print_and_interrupt(*texts, **options):
    real(*texts, **options)
    os.kill(os.getpid(), int(sys.argv[2]))
builtins.print = print_and_interrupt
sys.exit(main(sys.argv[3:]))
"""


@SIGNALS
@pytest.mark.parametrize("target", ["head", "nope"], ids=["answer", "failure"])
def test_while_the_answer_is_printed(database: Database, folder: Folder, number: int, target: str) -> None:
    """The answer that is there already is the one object; no second one follows it."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    words = [sys.executable, "-c", _SIGNAL_AFTER_PRINT, str(PRODUCT), str(int(number)), "migrate", "--json", "--target", target]
    environ = {**os.environ, **environment(database, folder)}
    done = subprocess.run(words, capture_output=True, text=True, env=environ, check=False)
    body = json.loads(done.stdout)
    check_answer(body)
    assert (body["success"], done.returncode, done.stderr) == (target == "head", 130, "")


@SIGNALS
def test_while_nobody_reads_a_long_answer(database: Database, folder: Folder, number: int) -> None:
    """An answer that is longer than the pipe is written as a whole."""
    for index in range(1, 400):
        folder.write(f"{index:04}_{'x' * 40}.sql", "SELECT 1;")
    environ = {**os.environ, **environment(database, folder)}
    subprocess.run(command("migrate"), env=environ, capture_output=True, check=True)
    with subprocess.Popen(command("history", "--json"), stdout=subprocess.PIPE, text=True, env=environ) as process:
        time.sleep(2)
        process.send_signal(number)
        time.sleep(1.5)
        out, _ = process.communicate(timeout=30)
    check_answer(json.loads(out))
