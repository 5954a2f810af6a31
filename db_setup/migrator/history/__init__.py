"""The history: the tables ``db_setup.history`` and ``db_setup.runs``, who reads and writes them, and the run lock.

Invariants: a row is written in the transaction of its migration, or step by step before and after what no transaction
allows; it is written only by the holder of the run lock; what runs next to a migration's own statements qualifies its
names and operators. May import database, files and what is below them.

The rows are loaded with the package; the rest, which needs psycopg2, or which only a run that writes needs, when it is
first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.history.rows import NONE, SCHEMA, AppliedMigration, HistorySnapshot, Recorded
from migrator.lazy import late

if TYPE_CHECKING:
    from migrator.history.assertion import Assertion
    from migrator.history.fence import Fence, ForeignObject
    from migrator.history.hash_chain import TamperedRow
    from migrator.history.history import History
    from migrator.history.records import ApplyRecord, Record, StepProgress
    from migrator.history.rollback_records import RollbackHistory, RollbackRecord
    from migrator.history.run_lock import RunLock
else:
    __getattr__ = late(
        __name__,
        {
            "ApplyRecord": "records",
            "Assertion": "assertion",
            "Fence": "fence",
            "ForeignObject": "fence",
            "History": "history",
            "Record": "records",
            "RollbackHistory": "rollback_records",
            "RollbackRecord": "rollback_records",
            "RunLock": "run_lock",
            "StepProgress": "records",
            "TamperedRow": "hash_chain",
        },
    )

__all__ = [
    "NONE",
    "SCHEMA",
    "AppliedMigration",
    "ApplyRecord",
    "Assertion",
    "Fence",
    "ForeignObject",
    "History",
    "HistorySnapshot",
    "Record",
    "Recorded",
    "RollbackHistory",
    "RollbackRecord",
    "RunLock",
    "StepProgress",
    "TamperedRow",
]
