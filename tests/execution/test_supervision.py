"""No message is waited for longer than the run's time and a few seconds, whatever the server does.

A network that lets nothing through is in tests/faults, at any message of any action.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from migrator.cli.local_server import LocalServer

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.proxy import Proxy
from tests.plugins.runs import command
from tests.plugins.server import SETTINGS
from tests.plugins.waiting import wait_until

TIMEOUT, BOUND = 1, 5  # seconds, the second beyond the first


def run(url: str, files: Folder, words: tuple[str, ...], timeout: int = 60) -> tuple[int, dict[str, Any]]:
    """Carry out an action with a time limit, in a process of its own; return exit status and answer."""
    line = [*command(*words, "--json"), "--database-url", url, "--migrations", str(files.path)]
    environ = {**os.environ, "MIGRATION_TIMEOUT": f"{timeout}s"}
    done = subprocess.run(line, capture_output=True, text=True, env=environ, timeout=60, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def applied(database: Database) -> set[str]:
    """Return the files that the history says are applied."""
    if database.query("SELECT to_regclass('db_setup.history')") == [(None,)]:
        return set()
    return {name for (name,) in database.query("SELECT name FROM db_setup.history WHERE state = 'applied'")}


def test_lost_commit(proxy: Proxy, database: Database, folder: Folder) -> None:
    """Of a file whose COMMIT has no answer, and nobody left to be asked, the outcome is said to be unknown."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    run(database.url, folder, ("migrate",))
    folder.write("002_b.sql", "CREATE TABLE b (i int); SELECT pg_sleep(1);")
    folder.write("003_c.sql", "SELECT 1;")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(run, proxy.url(database.name), folder, ("migrate",), 4 * TIMEOUT)
        wait_until(lambda: database.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"))
        pool.submit(proxy.fall_silent)
        status, body = running.result()
        proxy.disarm()
    assert (status, body["code"], body["applied_migrations"]) == (1, "deadline_reached", []), body
    assert body["failed_migration"] == "002_b.sql"
    assert "whether 002_b.sql was committed is not known; left: 003_c.sql" in body["message"]
    assert applied(database) == {"001_a.sql", "002_b.sql"}
    assert run(database.url, folder, ("migrate",))[1]["applied_migrations"] == ["003_c.sql"]


def test_lost_record_of_the_end(
    proxy: Proxy, database: Database, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a stepwise file whose last record has no answer it is not said that it is left: it may be applied."""
    monkeypatch.setenv("LOCK_TIMEOUT", "30s")
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    run(database.url, folder, ("migrate",))
    folder.write("002_b.sql", "CREATE TABLE b (i int); VACUUM b;")
    folder.write("002_b.check.sql", "SELECT pg_sleep(1) IS NOT NULL;")
    with ThreadPoolExecutor() as pool, contextlib.closing(database.connect()) as other, other.cursor() as cursor:
        running = pool.submit(run, proxy.url(database.name), folder, ("migrate",), 6 * TIMEOUT)
        wait_until(lambda: database.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"))
        cursor.execute("BEGIN; SELECT FROM db_setup.history WHERE name = '002_b.sql' FOR UPDATE")
        wait_until(lambda: database.query("SELECT 1 FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())"))
        pool.submit(proxy.fall_silent)
        wait_until(proxy.is_silent)
        cursor.execute("COMMIT")
        status, body = running.result()
        proxy.disarm()
    assert (status, body["code"]) == (1, "deadline_reached"), body
    assert "whether 002_b.sql was committed is not known; 2 steps of 002_b.sql, recorded; a re-run records its end" in body["message"]
    assert "left" not in body["message"], body
    assert applied(database) == {"001_a.sql", "002_b.sql"}


# One of the two is the server's own, its statement_timeout.
TWICE = """DO $$ BEGIN FOR i IN 1..2 LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;
PERFORM pg_sleep(60); END $$;"""


def test_swallowed_cancel(database: Database, folder: Folder) -> None:
    """A statement that swallows the first cancel is cancelled again, and so what became of its file is known."""
    folder.write("001_a.sql", TWICE)
    status, body = run(database.url, folder, ("migrate",), TIMEOUT)
    assert (status, body["code"], body["applied_migrations"]) == (1, "deadline_reached", []), body
    assert "is not known" not in body["message"]
    assert body["duration_ms"] < (TIMEOUT + BOUND) * 1000, body


@pytest.fixture
def frozen(server: LocalServer, scratch: Path) -> Iterator[LocalServer]:
    """Start a server of the test's own, which the test may freeze; thaw and remove it."""
    folder = scratch / f"frozen{os.environ.get('PYTEST_XDIST_WORKER', '')}"
    own = LocalServer(folder, SETTINGS, {"PGBIN": str(server.binaries.folder)}).start()
    yield own
    thaw(own)
    own.remove()


def signal_all(server: LocalServer, number: signal.Signals) -> None:
    """Send a signal to the server's first process and all that it has started."""
    first = int((server.data / "postmaster.pid").read_text().split()[0])
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if folder.name == str(first) or f"PPid:\t{first}\n" in (folder / "status").read_text():
                os.kill(int(folder.name), number)


def thaw(server: LocalServer) -> None:
    """Have a frozen server go on."""
    signal_all(server, signal.SIGCONT)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks for the server's processes in /proc")
@pytest.mark.parametrize("words", [("migrate",), ("status",)], ids=["in a statement", "before the login"])
def test_frozen_server(frozen: LocalServer, folder: Folder, words: tuple[str, ...]) -> None:
    """A server whose processes stand still, and whose sockets take what is sent, does not hold an action up."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);\nSELECT pg_sleep(60);")
    database = Database(frozen, "postgres")
    with ThreadPoolExecutor() as pool:
        if words == ("migrate",):
            running = pool.submit(run, frozen.url, folder, words, TIMEOUT)
            asleep = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            wait_until(lambda: bool(database.query(asleep)))
        signal_all(frozen, signal.SIGSTOP)
        if words != ("migrate",):
            running = pool.submit(run, frozen.url, folder, words, TIMEOUT)
        status, body = running.result()
    assert body["duration_ms"] < (TIMEOUT + BOUND) * 1000, body
    assert (status, body["code"]) in {(1, "deadline_reached"), (1, "connection_failed")}, body
    thaw(frozen)
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    assert run(frozen.url, folder, ("migrate",))[0] == 0
    assert applied(database) == {"001_a.sql"}
