"""The machinery itself: it has to find what is planted, and to say so where nothing was found. ``make mutants`` runs this first.

It is no part of ``make test``, which has neither the library of mutations nor the time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants.mutations import is_fault, mutants
from tests.mutants.sample import choose, source_of
from tests.mutants.trial import KILLED, SURVIVED, TIMED_OUT, Workplace
from tests.plugins.waiting import wait_until

CLASSIFY, ROWS = "db_setup/migrator/sql/classify.py", "db_setup/migrator/history/history.py"
KINDS = {"tests/sql/test_statements.py::test_kind": 1.0}
SOURCE = '''"""A docstring about what this is for."""

_QUERY = f"SELECT 1 FROM {table} WHERE a = 1 AND b IS NULL"

def act(connection):
    if connection.failed and not connection.closed:
        raise Refused("this cannot be done at all", fix="run it again later", code="refused")
    connection.close()
'''


@pytest.fixture(scope="module")
def workplace() -> Iterator[Workplace]:
    """Return a place for trials."""
    with Workplace() as made:
        yield made


def changed(path: str, before: str, after: str) -> str:
    """Return the source of a module with one text in place of another."""
    source = source_of(path)
    assert before in source
    return source.replace(before, after, 1)


def test_fault_is_found(workplace: Workplace) -> None:
    """A mutant that a test notices is killed."""
    found = workplace.try_out(CLASSIFY, changed(CLASSIFY, '"vacuum": Kind.OUTSIDE', '"vacuum": Kind.PLAIN'), KINDS)
    assert found.outcome == KILLED
    assert "1 failed" in found.output


def test_fault_in_sql_is_found(workplace: Workplace) -> None:
    """A mutant in a query is killed by a test with a server, the worker's own."""
    source = changed(ROWS, "WHERE action <> 'rotate' AND id <> {{but}}", "WHERE action = 'rotate' AND id <> {{but}}")
    found = workplace.try_out(ROWS, source, {"tests/history/test_integrity.py::test_every_column_counts": 10.0})
    assert found.outcome == KILLED
    assert "1 failed" in found.output


def test_no_fault_survives(workplace: Workplace) -> None:
    """What changes nothing survives, after a mutant was killed in the same place; so tests fail because of mutants only."""
    assert workplace.try_out(CLASSIFY, changed(CLASSIFY, '"vacuum": Kind.OUTSIDE', '"vacuum": Kind.PLAIN'), KINDS).outcome == KILLED
    assert workplace.try_out(CLASSIFY, source_of(CLASSIFY) + "# nothing\n", KINDS).outcome == SURVIVED


def test_endless_loop_is_ended(workplace: Workplace) -> None:
    """A mutant that never ends is stopped, and said to have run out of time."""
    source = changed(CLASSIFY, "    verb = word[0].lower()\n", "    verb = word[0].lower()\n    while verb:\n        pass\n")
    assert workplace.try_out(CLASSIFY, source, dict.fromkeys(KINDS, 0.0)).outcome == TIMED_OUT


def test_mutant_that_cannot_be_imported_is_killed(workplace: Workplace) -> None:
    """A module that fails when it is imported counts as noticed."""
    assert workplace.try_out(CLASSIFY, "raise ValueError\n", KINDS).outcome == KILLED


def test_nothing_is_left_of_an_interrupted_trial() -> None:
    """A command that ends in the middle of a trial leaves no process and no folder."""
    workplace = Workplace()
    folder, worker = workplace._folder, workplace._worker
    endless = changed(CLASSIFY, "    verb = word[0].lower()\n", "    while True:\n        pass\n")
    order = {"path": CLASSIFY, "source": endless, "seconds": dict.fromkeys(KINDS, 600), "limit": 600}
    assert worker.stdin
    worker.stdin.write(json.dumps(order) + "\n")
    worker.stdin.flush()
    wait_until(lambda: len(processes_in(folder)) > 1)
    workplace.__exit__(None, None, None)
    wait_until(lambda: not processes_in(folder))
    assert not folder.exists()


def processes_in(folder: Path) -> list[str]:
    """Return the processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            where = (process / "cwd").readlink()
        except OSError:
            continue  # it has ended, or is somebody else's
        if str(where).startswith(str(folder)):
            found.append(process.name)
    return found


def test_mutants_of_a_module() -> None:
    """Conditions, calls, refusals and the parts of a query are changed; docstrings and texts for people are not."""
    made = [mutant for mutant in mutants("a.py", SOURCE) if is_fault(mutant, SOURCE)]
    texts = {mutant.apply(SOURCE) for mutant in made}
    assert {
        SOURCE.replace("failed and not", "failed or not"), SOURCE.replace("and not connection", "and connection"),
        SOURCE.replace("AND b IS NULL", ""), SOURCE.replace("a = 1", "a <> 1"), SOURCE.replace("connection.close()", "pass"),
    } <= texts  # fmt: skip
    assert any("Refused" not in text for text in texts)
    assert all("A docstring about what this is for" in text for text in texts)
    assert all('("this cannot be done at all", fix="run it again later"' in text for text in texts if "raise" in text)


def test_sample_is_that_of_its_seed() -> None:
    """One seed always chooses the same mutants, as many of each package, and another one others."""
    first, again, other = choose("a", 8, []), choose("a", 8, []), choose("b", 8, [])
    assert first == again != other
    assert [package for package, _ in first] == [each for each in ("execution", "history", "planning", "sql") for _ in range(2)]
    assert os.path.commonpath([mutant.path for _, mutant in first]) == "db_setup/migrator"
