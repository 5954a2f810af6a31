"""Runs whose network vanishes without a word: how soon the server ends their sessions, and how soon they notice."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.namespaces import Network
from tests.plugins.runs import PRODUCT
from tests.plugins.waiting import wait_until

_GONE = 60.0  # seconds until the server has ended the session of a run that is gone
_NOTICED = 35.0  # seconds until a run has noticed that the server is
_FAILED = "failed: "
_FILES = {
    "thinks": "SELECT 'go on';",
    "goes on": "SELECT 'go on';",
    "is at work": "SELECT pg_sleep(600);",
}
# A run that stops before its last statement until it is told to go on, and that says how a message ends which fails.
_RUN = """
import os, sys
sys.path.insert(0, sys.argv[1])
import initializer
from migrator.database import connection
send = connection.Connection.run
def watched(self, sql):
    if "go on" in sql:
        sys.stdin.readline()
    try:
        return send(self, sql)
    except Exception as error:
        print("failed:", type(error).__name__, flush=True)
        os._exit(1)
connection.Connection.run = watched
initializer.handler({}, None)
"""
_OTHER = """
import os, sys, psycopg2
with psycopg2.connect(os.environ["DATABASE_URL"]) as connection, connection.cursor() as cursor:
    cursor.execute("CREATE TABLE t (i int)")
    sys.stdin.readline()
"""
_HOLDS = """SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE mode = 'AccessExclusiveLock' AND granted
    AND datname = current_database() AND state = %s AND query LIKE %s"""
_SESSIONS = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


class Client(NamedTuple):
    """A program beyond the network, its database, and with which errors its messages have failed at which time."""

    process: subprocess.Popen[str]
    database: Database
    said: list[tuple[float, str]]

    def tell(self) -> None:
        """Have it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def listen(self) -> None:
        """Note which of its messages fails, and when, until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(_FAILED):
                self.said.append((time.monotonic(), line.removeprefix(_FAILED).strip()))

    @property
    def is_seen(self) -> bool:
        """Whether the server has a session of it."""
        return bool(self.database.query(_SESSIONS))


def start(network: Network, name: str, program: str, path: Path, at_work: str = "") -> Client:
    """Start a client, and return when it holds its lock and does what it is to be met in."""
    database = network.database(name)
    environ = {"DATABASE_URL": network.url(name), "MIGRATIONS_DIR": str(path), "LOCK_REPORT": "true"}
    client = Client(network.client(program, str(PRODUCT), environ=environ), database, [])
    threading.Thread(target=client.listen, daemon=True).start()
    state = "active" if at_work else "idle in transaction"
    wait_until(lambda: database.query(_HOLDS, state, f"%{at_work}%"))
    return client


def wait_until_gone(clients: Mapping[str, Client], since: float) -> dict[str, float]:
    """Return after how many seconds the server had no session any more of each client, as far as it was so in time."""
    gone: dict[str, float] = {}
    while len(gone) < len(clients) and time.monotonic() < since + _GONE:
        time.sleep(0.2)
        for name in clients.keys() - gone.keys():
            if not clients[name].is_seen:
                gone[name] = time.monotonic() - since
    return gone


def test_lost_network_ends_the_session(network: Network, folder: Folder) -> None:
    """Within a minute no session and no lock of a run is left whose network was lost, whatever it did; it knows sooner."""
    runs: dict[str, Client] = {}
    for name, text in _FILES.items():
        (path := folder.path / name).mkdir()
        (path / "001_x.sql").write_text(f"CREATE TABLE t (i int);\n{text}")
        runs[name] = start(network, name, _RUN, path, "pg_sleep" * ("pg_sleep" in text))
    other = start(network, "another program", _OTHER, folder.path)
    cut = time.monotonic()
    network.lose_everything()
    runs["goes on"].tell()
    expected = runs.keys() - ({"is at work"} if other.database.major() < 14 else set())  # lives to its statement_timeout
    gone = wait_until_gone({name: runs[name] for name in expected}, cut)
    assert gone.keys() == expected
    assert other.is_seen  # without the settings of a run a session stays
    for name in ("goes on", "is at work"):
        wait_until(partial(bool, runs[name].said))
        ((when, what),) = runs[name].said
        assert what == "ConnectionLost"
        assert when - cut < _NOTICED
