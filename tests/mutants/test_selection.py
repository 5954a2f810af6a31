"""Which tests mutation testing runs on a line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.mutants.measured import Measured, Timed
from tests.mutants.selection import Selection

PATH = "db_setup/migrator/sql/a.py"
SOURCE = """_A = "1"
_B = f"{_A}"

def b():
    return (
        _B
    )

class C:
    d = 4

    def e(self, f=1):
        if f:
            return self.d
        return b
"""
SLOW, QUICK, FOREIGN = "tests/sql/test_a.py::slow", "tests/sql/test_a.py::quick[1]", "tests/cli/test_b.py::quicker"
CASE = "tests/sql/test_a.py::quick[0]"


@pytest.fixture
def selection(tmp_path: Path) -> Selection:
    """Return the selection of a project with one module, of which four tests run a line each."""
    file = tmp_path / PATH
    file.parent.mkdir(parents=True)
    file.write_text(SOURCE, encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    tests = {name: Timed(name, seconds, shared=False) for name, seconds in ((SLOW, 3.0), (QUICK, 2.0), (FOREIGN, 1.5), (CASE, 0.1))}
    ran = {PATH: {6: {SLOW, QUICK, FOREIGN, CASE}, 14: {SLOW}, 13: {QUICK}}}
    return Selection(Measured(tests, [], ran, []), tmp_path)


@pytest.mark.parametrize(("line", "expected"), [
    (5, [CASE, SLOW, FOREIGN, QUICK]),  # all lines of its statement count
    (1, [CASE, SLOW, FOREIGN, QUICK]),  # a constant counts where it is used, through another one
    (10, [SLOW]),  # so does an attribute of a class
    (12, [QUICK]),  # a default argument counts in the function
    (13, [QUICK]),  # a condition counts without what depends on it
    (15, []),
])  # fmt: skip
def test_tests_of_a_line(selection: Selection, line: int, expected: list[str]) -> None:
    """The tests are those that run what the line counts for, a case of each first, the quickest, and those of its package sooner."""
    assert list(selection.tests(PATH, line)) == expected
