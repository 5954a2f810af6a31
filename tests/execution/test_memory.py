"""Memory of a run: what a file takes that is one large statement, and one whose data are streamed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import PRODUCT

_MEGABYTE = 1 << 20
_SIZE = 40 * _MEGABYTE  # of a statement: more than the allocator serves from what it has
_FACTOR = 4.5  # times its size, of which psycopg2 and libpq need 4; without any care it was 6
_WINDOW = 16 * _MEGABYTE  # for whatever does not grow with it
# The peak since the program began, which ru_maxrss is not: that begins with the size of whoever has started it.
_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import initializer
initializer.handler({}, None)
from pathlib import Path
print("peak", Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


def peak(database: Database, folder: Folder) -> int:
    """Return the bytes of memory that a run in a process of its own has had at its peak."""
    environ = {**os.environ, "DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder.path)}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(PRODUCT)], capture_output=True, text=True, check=True, env=environ
    )
    return int(done.stdout.rpartition("peak ")[2]) * 1024


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from Linux's /proc")


@pytest.mark.parametrize("directive", ["", "-- db_setup: no-transaction\n"], ids=["transaction", "stepwise"])
def test_memory_of_a_large_statement(folder: Folder, database: Database, directive: str) -> None:
    """A statement takes little more than the driver alone takes for it: its text, the driver's copy, and two of libpq's."""
    folder.write("001_t.sql", "CREATE TABLE t (a text);")
    base = peak(database, folder)
    folder.write("002_x.sql", f"{directive}SELECT length('{'x' * _SIZE}');")
    assert peak(database, folder) - base < _FACTOR * _SIZE + _WINDOW


def test_memory_of_copy_does_not_grow(folder: Folder, database: Database) -> None:
    """The data of a COPY are streamed: their size makes no difference."""
    folder.write("001_t.sql", "CREATE TABLE t (a text, b int);")
    base = peak(database, folder)
    folder.write("002_x.sql", "COPY t FROM stdin;\n" + f"{'x' * 1000}\t12345\n" * (_SIZE // 1000) + "\\.\n")
    assert peak(database, folder) - base < _WINDOW
