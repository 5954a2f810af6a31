"""Exactly once, and no dirty state, whatever happens to runner, connection and server.

A sample of the points, spread by a fixed seed; ``FAULT_POINTS=9999`` takes every one of them.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from functools import partial

import pytest

from tests.plugins.databases import Database, Dump, MakeDatabase
from tests.plugins.folders import Folder
from tests.plugins.proxy import BACKEND, FRONTEND, Proxy
from tests.plugins.runs import command

POINTS = int(os.environ.get("FAULT_POINTS", "16"))
FILES = {
    "001_a.sql": "CREATE TABLE a (i int PRIMARY KEY, s text);\nINSERT INTO a SELECT g, g FROM generate_series(1, 50) g;",
    "002_copy.sql": "CREATE TABLE b (i int);\nCOPY b FROM stdin;\n1\n2\n\\.\nUPDATE a SET s = s || '!';",
    "003_steps.sql": "INSERT INTO a VALUES (100, 'x');\nCREATE INDEX CONCURRENTLY a_s ON a (s);\nINSERT INTO b VALUES (3);\n"
    "CREATE INDEX CONCURRENTLY ON b (i);\nVACUUM b;\nBEGIN; INSERT INTO b VALUES (4); UPDATE a SET i = -i; COMMIT;\n"
    "DROP INDEX CONCURRENTLY a_s;",
    "004_big.sql": "CREATE TABLE c (i int, s text);\n"
    + "".join(f"INSERT INTO c VALUES ({i}, '{'x' * 2000}');\n" for i in range(300)),
    "notes.sql": "CREATE TABLE notes (i int);\nINSERT INTO notes SELECT count(*) FROM c;",
    "002_copy.check.sql": "SELECT count(*) = 50 FROM a; SELECT * FROM b WHERE i > 2;",
    "003_steps.check.sql": "SELECT count(*) = 4 FROM b;",
    "002_copy.down.sql": "UPDATE a SET s = rtrim(s, '!');\nDROP TABLE b;",
    "003_steps.down.sql": "CREATE INDEX CONCURRENTLY a_s ON a (s);\nDELETE FROM b WHERE i > 2;\nVACUUM a;\n"
    "BEGIN; UPDATE a SET i = -i; DELETE FROM a WHERE i = 100; COMMIT;\nDROP INDEX CONCURRENTLY a_s;\n"
    "DROP INDEX CONCURRENTLY b_i_idx;",
    "004_big.down.sql": "".join(f"DELETE FROM c WHERE i = {i}; -- {'x' * 500}\n" for i in range(300)) + "DROP TABLE c;",
    "notes.down.sql": "DROP TABLE notes;",
}
MIGRATE = ("migrate",)
BY_STEPS, TO_TARGET = ("rollback", "--steps", "4", "--yes"), ("rollback", "--target", "1", "--yes")
OPTIONS = ("--exclude-schema=db_setup", "--inserts")


@pytest.fixture
def files(folder: Folder) -> Folder:
    """Write the files that the faults hit."""
    for name, text in FILES.items():
        folder.write(name, text)
    return folder


def line(url: str, files: Folder, words: tuple[str, ...] = MIGRATE) -> list[str]:
    """Return a command line that works on a database."""
    return command(*words, "--json", "--database-url", url, "--migrations", str(files.path))


def run(url: str, files: Folder, words: tuple[str, ...] = MIGRATE) -> subprocess.CompletedProcess[str]:
    """Run in a process of its own."""
    return subprocess.run(line(url, files, words), capture_output=True, text=True, check=False, timeout=60)


def history(database: Database) -> list[tuple[str, str]]:
    """Return what is recorded, in the order of application."""
    return [(n, s) for n, s in database.query("SELECT name, state FROM db_setup.history ORDER BY position")]


def expected(make_database: MakeDatabase, files: Folder, pg_dump: Dump) -> tuple[str, list[tuple[str, str]]]:
    """Return dump and history of a run without faults."""
    clean = make_database()
    assert run(clean.url, files).returncode == 0
    return pg_dump(clean, *OPTIONS), history(clean)


def points(
    proxy: Proxy, target: Database, files: Folder, words: tuple[str, ...] = MIGRATE
) -> Iterator[tuple[str, int, bool]]:
    """Yield a sample of (side, message, before) over all messages of a run without faults, smaller for rollbacks."""
    size = POINTS // 2 if words == MIGRATE else POINTS // 4
    proxy.disarm()
    assert run(proxy.url(target.name), files, words).returncode == 0
    counts = dict(proxy.counts)
    for side in (FRONTEND, BACKEND):
        everything = [(side, n, before) for n in range(2, counts[side]) for before in (True, False)]
        yield from random.Random(side).sample(everything, min(size, len(everything)))  # noqa: S311


def kill(proxy: Proxy, point: tuple[str, int, bool], words: list[str]) -> None:
    """Run, and kill the run at a point."""
    side, message, before = point
    runner = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    proxy.arm(side, message, before=before, strike=partial(runner.send_signal, signal.SIGKILL))
    runner.wait(timeout=60)
    proxy.disarm()


def test_killed_runner(
    proxy: Proxy, database: Database, make_database: MakeDatabase, files: Folder, pg_dump: Dump
) -> None:
    """Kill -9 at any message, then one re-run: the same database as without the kill."""
    wanted = expected(make_database, files, pg_dump)
    for side, message, before in points(proxy, make_database(), files):
        target = make_database()
        kill(proxy, (side, message, before), line(proxy.url(target.name), files))
        again = run(target.url, files)
        assert again.returncode == 0, (side, message, before, again.stdout, again.stderr)
        assert (pg_dump(target, *OPTIONS), history(target)) == wanted, (side, message, before)


def test_cut_connection(
    proxy: Proxy, make_database: MakeDatabase, files: Folder, pg_dump: Dump
) -> None:
    """A connection cut before or after any message is made again by the run itself, whose answer is right."""
    wanted = expected(make_database, files, pg_dump)
    for side, message, before in points(proxy, make_database(), files):
        target = make_database()
        proxy.arm(side, message, before=before)
        done = run(proxy.url(target.name), files)
        proxy.disarm()
        at = (side, message, before, done.stdout, done.stderr)
        if done.returncode == 1:  # cut while connecting or reading: nothing was begun
            assert '"connection_' in done.stdout, at
            assert run(target.url, files).returncode == 0, at
        else:
            assert done.returncode == 0, at
            assert '"applied_migrations": ["001_a.sql"' in done.stdout, at
        assert (pg_dump(target, *OPTIONS), history(target)) == wanted, at


def was_heard(database: Database) -> bool:
    """Return whether the last run is a rollback by steps whose answer was written, as far as that is recorded."""
    last = database.query("SELECT action || ' ' || message FROM db_setup.runs ORDER BY id DESC LIMIT 1")
    return str(last[0][0]) == "rollback rolled back notes.sql, 004_big.sql, 003_steps.sql, 002_copy.sql"


@pytest.fixture
def applied(make_database: MakeDatabase, files: Folder) -> Database:
    """Return a database to copy, on which every file is applied."""
    made = make_database()
    assert run(made.url, files).returncode == 0
    return made


@pytest.fixture
def first(make_database: MakeDatabase, files: Folder, pg_dump: Dump) -> str:
    """Return the dump of a database on which only the first file was ever applied."""
    made = make_database()
    assert run(made.url, files, (*MIGRATE, "--target", "1")).returncode == 0
    return pg_dump(made, *OPTIONS)


def test_killed_rollback(
    proxy: Proxy, applied: Database, first: str, make_database: MakeDatabase, files: Folder, pg_dump: Dump
) -> None:
    """Kill -9 at any message of a rollback by steps, then the same again: no step too few, none too many."""
    copy = f"TEMPLATE {applied.name}"
    for point in points(proxy, make_database(copy), files, BY_STEPS):
        target = make_database(copy)
        kill(proxy, point, line(proxy.url(target.name), files, BY_STEPS))
        if not was_heard(target):
            again = run(target.url, files, BY_STEPS)
            assert again.returncode == 0, (point, again.stdout, again.stderr)
        assert (pg_dump(target, *OPTIONS), history(target)) == (first, [("001_a.sql", "applied")]), point


def test_rollback_on_cut_connections(
    proxy: Proxy, applied: Database, first: str, make_database: MakeDatabase, files: Folder, pg_dump: Dump
) -> None:
    """A rollback whose connection is cut goes on by another, and answers what was done."""
    copy = f"TEMPLATE {applied.name}"
    for side, message, before in points(proxy, make_database(copy), files, TO_TARGET):
        target = make_database(copy)
        proxy.arm(side, message, before=before)
        done = run(proxy.url(target.name), files, TO_TARGET)
        proxy.disarm()
        at = (side, message, before, done.stdout, done.stderr)
        if done.returncode == 1:  # cut while connecting: nothing was begun
            assert '"connection_' in done.stdout, at
            assert run(target.url, files, TO_TARGET).returncode == 0, at
        else:
            assert '"rolled_back_migrations": ["notes.sql", "004_big.sql", "003_steps.sql", "002_copy.sql"]' in done.stdout, at
        assert (pg_dump(target, *OPTIONS), history(target)) == (first, [("001_a.sql", "applied")]), at
