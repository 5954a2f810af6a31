"""Rehearsal: runs pending files in a transaction that is rolled back, and reads which locks each statement takes.

Nothing that a rehearsal does stays, whatever ends it. A real run can have the same report of its locks.
May import execution and what that may import.
"""

from __future__ import annotations

from migrator.rehearsal.lock_report import LockEntries
from migrator.rehearsal.rehearsal import Rehearsal
from migrator.rehearsal.run_report import LockReport

__all__ = ["LockEntries", "LockReport", "Rehearsal"]
