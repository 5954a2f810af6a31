"""Runs that are killed at the n-th thing they ask of the database or of AWS, and runs side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from tests.plugins.answers import check_answer
from tests.plugins.runs import PRODUCT

# One process imports everything once; each run is a child of it, and what kills a child is the real signal.
_PROGRAM = """
import json, os, signal, sys, traceback
sys.path.insert(0, sys.argv[1])
import boto3, botocore.client, initializer
from migrator.actions import migrate, rotate
from migrator.database import connection
from migrator.users import provision
boto3.client("secretsmanager", region_name="eu-central-1")  # loads what every child would load again

def strike_at(point, before):
    asked = [0]
    def counted(function):
        def call(*words, **named):
            asked[0] += 1
            due = asked[0] == point
            if due and before:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return function(*words, **named)
            finally:
                if due:
                    os.kill(os.getpid(), signal.SIGKILL)
        return call
    connection.Connection.run = counted(connection.Connection.run)
    connection.Connection.rows = counted(connection.Connection.rows)
    connection._open = counted(connection._open)
    botocore.client.BaseClient._make_api_call = counted(botocore.client.BaseClient._make_api_call)
    return asked

def run(order, answer):
    os.environ.update(order["environ"])
    out = os.open(os.devnull, os.O_WRONLY)
    os.dup2(out, 1)
    asked = strike_at(order["point"], order["before"])
    answered = {"body": None, "error": ""}
    try:
        answered["body"] = initializer.handler(order["event"], None)["body"]
    except Exception as error:
        answered["error"] = f"{type(error).__name__}: {error}"
    answered["asked"] = asked[0]
    os.write(answer, json.dumps(answered).encode())

def start(order):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            run(order, writing)
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.close(writing)
    return child, reading

for line in sys.stdin:
    order = json.loads(line)
    children = [start(order) for _ in range(order["runs"])]
    answers = []
    for child, reading in children:
        with os.fdopen(reading, "rb") as pipe:
            answers.append(json.loads(pipe.read() or b'{"killed": true}'))
        os.waitpid(child, 0)
    print(json.dumps(answers), flush=True)
"""


class Run(NamedTuple):
    """How a run ended: killed, or with an answer or an error, and how many things it had asked for."""

    killed: bool = False
    body: dict[str, Any] | None = None
    error: str = ""
    asked: int = 0


class Runs:
    """Starts runs of the handler in processes of their own."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(PRODUCT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, environ: Mapping[str, str], event: object = None, *, point: int = 0, before: bool = False) -> Run:
        """Run once; with a ``point`` the run is killed before or after the n-th thing it asks for."""
        (found,) = self._ask(environ, event, point=point, before=before, runs=1)
        return found

    def at_once(self, number: int, environ: Mapping[str, str]) -> list[Run]:
        """Run several deploys at the same time."""
        return self._ask(environ, None, point=0, before=False, runs=number)

    def _ask(self, environ: Mapping[str, str], event: object, **order: object) -> list[Run]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        sent = {"environ": {**self._environ, **environ}, "event": event or {}, **order}
        self._process.stdin.write(json.dumps(sent) + "\n")
        self._process.stdin.flush()
        runs = [Run(**answer) for answer in json.loads(self._process.stdout.readline())]
        for run in runs:
            if run.body is not None:
                check_answer(run.body)
        return runs

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@pytest.fixture(scope="session")
def runs() -> Iterator[Runs]:
    """Return what starts runs that may be killed."""
    made = Runs({})
    yield made
    made.close()
