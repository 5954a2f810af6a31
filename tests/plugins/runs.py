"""Runs of the product: the handler in this process, and the command line in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import initializer
import pytest
from migrator.errors import DbSetupError

from tests.plugins.answers import check_answer, check_output
from tests.plugins.databases import Database
from tests.plugins.folders import Folder

PRODUCT = Path(__file__).resolve().parents[2] / "db_setup"


class LambdaContext(NamedTuple):
    """What Lambda hands to a handler, as far as the product reads it."""

    aws_request_id: str = "request-1"
    remaining_ms: int = 300_000

    def get_remaining_time_in_millis(self) -> int:
        """Return the time left, in milliseconds."""
        return self.remaining_ms


Body = dict[str, Any]
Invoke = Callable[..., Body]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, database: Database, folder: Folder) -> Invoke:
    """Invoke the handler on the test's database and folder; keywords are further environment variables.

    What it answers, and what its errors carry, is held to the schema of answers.
    """

    def call(event: object = None, *, context: LambdaContext | None = None, **environ: str) -> Body:
        given = {"DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder.path), **environ}
        with monkeypatch.context() as patch:
            for name, value in given.items():
                patch.setenv(name, value)
            try:
                answer = initializer.handler({} if event is None else event, context)
            except DbSetupError as error:
                check_answer({"action": "migrate", **error.body(), "duration_ms": 0})
                raise
        assert answer["statusCode"] == 200
        body: Body = answer["body"]
        check_answer(body)
        return body

    return call


def command(*words: str) -> list[str]:
    """Return the command line of the product."""
    return [sys.executable, str(PRODUCT), *words]


class Done(NamedTuple):
    """What a command line has left: exit status, standard output, standard error."""

    status: int
    out: str
    err: str


Cli = Callable[..., Done]
Outside = Callable[..., None]


@pytest.fixture
def outside(invoke: Invoke, database: Database) -> Outside:
    """Execute SQL as somebody else would, in this database or another, and say that no file is applied to what it makes."""

    def execute(sql: str, target: Database = database) -> None:
        target.execute(sql)
        invoke({"action": "baseline", "target_revision": "none", "confirm": True}, DATABASE_URL=target.url)

    return execute


@pytest.fixture
def cli(database: Database, folder: Folder) -> Cli:
    """Run the command line on the test's database and folder; keywords are further environment variables.

    What it prints with --json is held to the schema of answers.
    """

    def run(*words: str, **environ: str) -> Done:
        given = {**os.environ, "DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder.path), **environ}
        done = subprocess.run(command(*words), capture_output=True, text=True, check=False, env=given)
        check_output(words, done.stdout)
        return Done(done.returncode, done.stdout, done.stderr)

    return run
