"""supervised: no message of a run, from the run lock to the record of its end, is waited for without a bound."""

from __future__ import annotations

import json
import os
import subprocess
import threading

import pytest

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.proxy import FRONTEND, Proxy
from tests.plugins.runs import Invoke, command

SILENCE = 60  # seconds, longer than any bound
RUN_LOCK, BEGIN, END = 5, 8, 11  # messages of a run that applies one file


@pytest.mark.parametrize(
    ("message", "code"),
    [(RUN_LOCK, "deadline_reached"), (BEGIN, "deadline_reached"), (END, None)],
    ids=["run lock", "begin", "end"],
)
def test_silent_server(
    invoke: Invoke, folder: Folder, database: Database, proxy: Proxy, message: int, code: str | None
) -> None:
    """A server that answers no more ends the run at its deadline; where only the end is unrecorded, it succeeds."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    silence = threading.Event()

    def stay_silent() -> None:
        silence.wait(SILENCE)

    proxy.arm(FRONTEND, message, before=True, strike=stay_silent)
    url, environ = proxy.url(database.name), {**os.environ, "MIGRATION_TIMEOUT": "1s"}
    words = [*command("migrate", "--json"), "--database-url", url, "--migrations", str(folder.path)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SILENCE - 10, env=environ, check=False)
    finally:
        silence.set()
    assert json.loads(done.stdout).get("code") == code
    applied = database.query("SELECT name FROM db_setup.history ORDER BY name")
    assert applied == [("001_a.sql",), *([] if code else [("002_b.sql",)])]
