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
else:
    __getattr__ = late(__name__, {"check_within": "checks", "rows_sql": "checks"})

__all__ = [
    "Runner",
    "StepwiseRun",
    "Supervision",
    "Trace",
    "Work",
    "check_within",
    "needs_steps",
    "retry_on_lost_connection",
    "rows_sql",
    "run_statement",
    "supervised",
    "work_of",
]
