"""Parts of the campaign that are tests of their own folders: each test is a point."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.faults.trial import Finding
from tests.plugins import namespaces, pgbouncer

_PROJECT = Path(__file__).resolve().parents[2]
_ALL = {"FAULT_POINTS": "9999"}


class Suite(NamedTuple):
    """Tests, by pytest's words, and the environment that makes them take all of their points.

    ``lacks`` says what they need and is not there.
    """

    name: str
    words: tuple[str, ...]
    environ: dict[str, str]
    lacks: Callable[[], str] = lambda: ""


SUITES = (
    Suite("silent death of the network", ("tests/database/test_silent_network.py",), {}, namespaces.lacks),
    Suite("behind PgBouncer", ("tests/database/test_poolers.py",), {}, pgbouncer.lacks),
    Suite(
        "hostile files",
        ("tests/execution/test_history_untouched.py", "tests/execution/test_fence.py", "tests/execution/test_sessions.py"),
        {},
    ),
    Suite("hostile names, canary password", ("tests/users/test_users.py", "-k", "canary or hostile"), {}),
    Suite("kill -9 at calls of AWS", ("tests/users/test_user_faults.py",), {"FAULT_POINTS": "60"}),
    Suite("kill -9 in single steps", ("tests/execution/test_outside.py", "-k", "killed"), _ALL),
    Suite("random walks", ("tests/walk/test_walk.py",), {"WALK_SEEDS": "60"}),
)


def run(suite: Suite, lanes: int, pgbin: str) -> Iterator[Finding]:
    """Run the tests of a suite, and yield what came of each."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        words = [sys.executable, "-m", "pytest", "-q", "-n", str(lanes), f"--junit-xml={report.name}", *suite.words]
        environ = {**os.environ, **suite.environ, "PGBIN": pgbin}
        done = subprocess.run(words, cwd=_PROJECT, env=environ, capture_output=True, text=True, check=False)
        cases = list(ET.parse(report.name).getroot().iter("testcase")) if Path(report.name).stat().st_size else []  # noqa: S314 - our own
    if not cases:
        yield Finding(suite.name, "", " ".join(suite.words), (done.stdout + done.stderr,))
    for case in cases:
        wrong = tuple(str(bad.get("message")) for bad in (*case.iter("failure"), *case.iter("error")))
        at, seconds = f"{case.get('classname')}::{case.get('name')}", float(case.get("time") or 0)
        yield Finding(suite.name, "", at, wrong, seconds=seconds, reached=case.find("skipped") is None)
