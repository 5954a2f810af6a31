"""Which tests run which lines: the tests under coverage, one folder of them after another, kept by a hash of both."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import coverage

from tests.mutants.contexts import RECORDS
from tests.mutants.measured import Measured, Timed
from tests.mutants.tree import CACHE, MIGRATOR, PROJECT, copy, files, fingerprint

# They run the product as a copy or a package of it, of which nothing is measured, or measure its speed.
LEFT_OUT = {"benchmarks", "cdk", "chain", "docs", "mutants", "plugins"}
_SETTINGS = """
[run]
branch = true
parallel = true
source = {source}
data_file = {data}
patch = fork, _exit
context = ${{PYTEST_CURRENT_TEST-}}
disable_warnings = no-data-collected, module-not-measured, module-not-imported, trace-changed
"""
_LIMIT = 3600  # seconds, for the tests of one folder


def folders() -> list[str]:
    """Return the folders of tests whose tests are run on mutants."""
    found = {name.split("/")[1] for name in files() if name.startswith("tests/") and "/test_" in name}
    return sorted(found - LEFT_OUT)


def measure(jobs: int, chosen: list[str] | None = None) -> Measured:
    """Run the tests of the folders that have not been measured as they stand, and return what is known of all."""
    return read([_measured(folder, jobs) for folder in chosen or folders()])


def _measured(folder: str, jobs: int) -> Path:
    """Return the folder with what was recorded of a folder of tests."""
    own = f"tests/{folder}/"
    common = ("db_setup/", "tests/plugins/", "tests/conftest.py", own)
    where = CACHE / f"{folder}-{fingerprint([name for name in files() if name.startswith(common)])}"
    if not where.exists():
        for older in CACHE.glob(f"{folder}-*"):
            shutil.rmtree(older)
        print(f"measuring: {own}", file=sys.stderr, flush=True)
        with _made(where) as target, tempfile.TemporaryDirectory(prefix="db_setup-measured-") as scratch:
            _run(own, Path(scratch).resolve(), target, jobs)
    return where


@contextmanager
def _made(where: Path) -> Iterator[Path]:
    """Make a folder under another name until it is complete."""
    unfinished = where.with_name(f"unfinished-{where.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    unfinished.rename(where)


def _run(own: str, scratch: Path, target: Path, jobs: int) -> None:
    tree, data, records = copy(scratch / "tree"), scratch / "data", scratch / "records"
    records.mkdir()
    settings = scratch / "coverage.ini"
    settings.write_text(_SETTINGS.format(source=tree / MIGRATOR, data=data / "of"), encoding="utf-8")
    data.mkdir()
    environ = {**os.environ, "COVERAGE_PROCESS_START": str(settings), RECORDS: str(records)}
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.mutants.contexts"),
        *("-n", str(jobs), own),
    ]
    done = subprocess.run(command, cwd=tree, env=environ, timeout=_LIMIT, check=False)
    if done.returncode not in {0, 1}:
        raise RuntimeError(f"the tests in {own} do not run: exit status {done.returncode}")
    combined = coverage.CoverageData(str(target / "coverage"))
    for part in sorted(data.iterdir()):
        found = coverage.CoverageData(str(part))
        found.read()
        combined.update(found, map_path=lambda path: str(PROJECT / Path(path).relative_to(tree)))
    combined.write()
    lines = "".join(part.read_text(encoding="utf-8") for part in sorted(records.iterdir()))
    (target / "tests.jsonl").write_text(lines, encoding="utf-8")


def read(parts: list[Path]) -> Measured:
    """Return what is known from the measured folders of tests."""
    tests: dict[str, Timed] = {}
    failing: list[str] = []
    for line in "".join((part / "tests.jsonl").read_text(encoding="utf-8") for part in parts).splitlines():
        record = json.loads(line)
        if record["failed"]:
            failing.append(record["id"])
        else:
            tests[record["id"]] = Timed(record["id"], record["seconds"], record["shared"])
    ran: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    sharing = {test.id for test in tests.values() if test.shared}
    for part in parts:
        data = coverage.CoverageData(str(part / "coverage"))
        data.read()
        for path in data.measured_files():
            name = Path(path).relative_to(PROJECT).as_posix()
            for at, contexts in data.contexts_by_lineno(path).items():
                ran[name][at] |= _tests_of(contexts, tests, sharing)
    return Measured(tests, failing, ran, [part / "coverage" for part in parts])


def _tests_of(contexts: list[str], tests: dict[str, Timed], sharing: set[str]) -> set[str]:
    """Return the tests that contexts stand for; a process that is made in a test's set-up serves all that share it."""
    found: set[str] = set()
    for context in contexts:  # a test's own process says its node id, one that it starts what pytest calls it
        test, _, phase = context.rpartition(" (")
        if context in tests:
            found.add(context)
        elif phase == "setup)":
            found |= sharing
        elif test in tests:
            found.add(test)
    return found
