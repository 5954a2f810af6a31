"""A plugin of pytest: coverage learns which test runs a line, in this process and in those that the test starts.

Only runs of ``measurement.py`` load it. A process that a test starts names the test itself: ``PYTEST_CURRENT_TEST``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest

RECORDS = "MUTANTS_RECORDS"
"""The environment variable that names the folder for what is recorded of each test."""

_failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Name the test to coverage, and record how long it takes and whether it succeeds."""
    running = coverage.Coverage.current()
    assert running is not None
    running.switch_context(item.nodeid)
    begin = time.monotonic()
    result = yield
    seconds = time.monotonic() - begin
    running.switch_context("")
    shared = "runs" in getattr(item, "fixturenames", ())
    record = {"id": item.nodeid, "seconds": seconds, "failed": item.stash.get(_failed, False), "shared": shared}
    with (Path(os.environ[RECORDS]) / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note a failure in any phase of the test."""
    report = yield
    if report.failed:
        item.stash[_failed] = True
    return report
