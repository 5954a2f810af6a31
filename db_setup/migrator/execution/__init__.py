"""Execution: applies a plan under the run lock, file by file, in one transaction or step by step.

A file commits together with its row in the history, or a step with its record; every message is supervised; the runner
alone decides which error ends a run. May import users and what is below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.execution.runner import Runner, Trace, Work, needs_steps, work_of
from migrator.execution.stepwise import StepwiseRun
from migrator.execution.supervision import Supervision, retry_on_lost_connection, supervised
from migrator.execution.transaction import run_statement
from migrator.lazy import late

if TYPE_CHECKING:
    from migrator.execution.checks import check_within, rows_sql
    from migrator.execution.fence import FileFence
    from migrator.execution.foreign import read_foreign
else:
    __getattr__ = late(
        __name__,
        {
            "FileFence": "fence",
            "check_within": "checks",
            "read_foreign": "foreign",
            "rows_sql": "checks",
        },
    )

__all__ = [
    "FileFence",
    "Runner",
    "StepwiseRun",
    "Supervision",
    "Trace",
    "Work",
    "check_within",
    "needs_steps",
    "read_foreign",
    "retry_on_lost_connection",
    "rows_sql",
    "run_statement",
    "supervised",
    "work_of",
]
