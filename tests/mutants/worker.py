"""A process that runs tests in its own copy of the project, in a child for each order: what it has imported, they have.

It is told what to do on its standard input, and ends with it, however the one ends who holds the other end: with its
child, and all that the child has started. It removes the copy then. The server of the tests removes itself.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

OUTCOMES = {0: "survived", 1: "killed", 2: "killed", 4: "killed"}
"""What the status of pytest says of a mutant; 2 and 4: the product cannot even be imported, by tests or by fixtures."""

# Nothing of the project may be imported before the child is made, which imports what the mutant has changed.
_PRELOADED = (
    "hypothesis", "hypothesis.strategies", "pytest_postgresql.factories", "psycopg", "psycopg2", "psycopg2.extras", "boto3", "flask",
    "moto.server", "jsonschema",
)  # fmt: skip
_BROKEN = 99
_FAILURE = re.compile(r"[1-9]\d* (?:failed|error)|ImportError while loading|ConftestImportFailure|^[A-Za-z.]*Error: ", re.MULTILINE)
_MEMORY = 6 * 2**30  # bytes of address space; a mutant may never stop to ask for more


class Alarm:
    """A plugin of pytest that ends the process at a test which takes much longer than it should."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self._seconds = seconds

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Set the alarm that ends this process, and with it the trial."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(self._seconds.get(item.nodeid, max(self._seconds.values()))) + 1)
        try:
            return (yield)
        finally:
            signal.alarm(0)


def main(tree: Path) -> None:
    """Obey until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever reads Ctrl-C closes the input
    try:
        for name in _PRELOADED:
            importlib.import_module(name)
        while line := sys.stdin.readline():
            print(json.dumps(_obey(json.loads(line), tree)), flush=True)
    except EOFError:
        pass  # in the middle of a trial
    finally:
        shutil.rmtree(tree.parent)


def _obey(order: dict[str, Any], tree: Path) -> dict[str, object]:
    """Put a text into a file, run tests, and put the file back; return the outcome and the test that failed."""
    file, log = tree / order["path"], tree.parent / "log"
    original = file.read_bytes()
    _write(file, order["source"].encode())
    try:
        child = _start(order["seconds"], log)
        outcome = _wait(child, order["limit"])
    finally:
        _write(file, original)
    output = log.read_text(encoding="utf-8", errors="replace")
    if outcome == "killed" and not _FAILURE.search(output):
        outcome = "failed"  # it was not the mutant: whoever kills says how
    return {"outcome": outcome, "output": output}


def _write(file: Path, content: bytes) -> None:
    """Write a module; what is compiled of it is known by size and second of the source, which may be the same."""
    file.write_bytes(content)
    for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
        compiled.unlink()


def _start(seconds: dict[str, float], log: Path) -> int:
    child = os.fork()
    if not child:
        status = _BROKEN
        try:
            os.setsid()
            status = _run(seconds, log)
        except BaseException:
            log.write_text(traceback.format_exc(), encoding="utf-8")
            raise
        finally:
            os._exit(status)
    return child


def _run(seconds: dict[str, float], log: Path) -> int:
    """Be the child: run the tests in this order, up to the first that fails."""
    for number, target in ((0, os.devnull), (1, log), (2, log)):
        opened = os.open(target, os.O_RDWR | os.O_CREAT | (os.O_TRUNC if number == 1 else os.O_APPEND), 0o600)
        os.dup2(opened, number)
        os.close(opened)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    plain = ["-x", "-q", "--tb=line", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist"]
    plain += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of what was imported before, which asserts nothing
    status = pytest.main([*plain, *seconds], plugins=[Alarm(seconds)])
    sys.stdout.flush()
    return int(status)


def _wait(child: int, limit: float) -> str:
    """Return the outcome of a child, which is ended at the limit, and when the input ends."""
    end = time.monotonic() + limit
    try:
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            # No order comes in the middle of a trial: what can be read is the end.
            if select.select([sys.stdin], [], [], 0.05)[0]:
                raise EOFError
            if time.monotonic() > end:
                return "timed out"
    finally:
        _end(child)
    if os.WIFSIGNALED(ended[1]):
        return "timed out" if os.WTERMSIG(ended[1]) == signal.SIGALRM else "killed"
    return OUTCOMES.get(os.WEXITSTATUS(ended[1]), "failed")


def _end(child: int) -> None:
    """End a child with all that it has started in its session."""
    try:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # it has ended, and nothing is left of its group


if __name__ == "__main__":
    main(Path.cwd())
