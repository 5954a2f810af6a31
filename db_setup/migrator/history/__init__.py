"""The history: the tables ``db_setup.history`` and ``db_setup.runs``, who reads and writes them, and the run lock.

Invariants: a row is written in the transaction of its migration, or step by step before and after what no transaction
allows; it is written only by the holder of the run lock; what runs next to a migration's own statements qualifies its
names and operators. May import database, files and what is below them.

The rows are loaded with the package; the rest, which needs the driver, when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.history.rows import SCHEMA, AppliedMigration, HistorySnapshot, Recorded
from migrator.lazy import late

if TYPE_CHECKING:
    from migrator.history.hash_chain import TamperedRow
    from migrator.history.history import TAMPERING_FIX, History
    from migrator.history.legacy import FIRST_GENERATION, read_first_generation
    from migrator.history.records import ApplyRecord, Record, StepProgress, fence_failed, text_literal
    from migrator.history.rollback_records import RollbackHistory, RollbackRecord, goal_note
    from migrator.history.run_lock import RUN_LOCK_KEY, acquire_run_lock
else:
    __getattr__ = late(
        __name__,
        {
            "FIRST_GENERATION": "legacy",
            "RUN_LOCK_KEY": "run_lock",
            "TAMPERING_FIX": "history",
            "ApplyRecord": "records",
            "History": "history",
            "Record": "records",
            "RollbackHistory": "rollback_records",
            "RollbackRecord": "rollback_records",
            "StepProgress": "records",
            "TamperedRow": "hash_chain",
            "acquire_run_lock": "run_lock",
            "fence_failed": "records",
            "goal_note": "rollback_records",
            "read_first_generation": "legacy",
            "text_literal": "records",
        },
    )

__all__ = [
    "FIRST_GENERATION",
    "RUN_LOCK_KEY",
    "SCHEMA",
    "TAMPERING_FIX",
    "AppliedMigration",
    "ApplyRecord",
    "History",
    "HistorySnapshot",
    "Record",
    "Recorded",
    "RollbackHistory",
    "RollbackRecord",
    "StepProgress",
    "TamperedRow",
    "acquire_run_lock",
    "fence_failed",
    "goal_note",
    "read_first_generation",
    "text_literal",
]
