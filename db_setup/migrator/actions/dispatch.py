"""Which action a request names."""

from __future__ import annotations

from collections.abc import Callable

from migrator.actions.migrate import migrate
from migrator.actions.plan import plan
from migrator.actions.status import status
from migrator.job import Job
from migrator.report import Report

_ACTIONS: dict[str, Callable[[Job], Report]] = {"migrate": migrate, "plan": plan, "status": status}


def perform(job: Job) -> Report:
    """Carry out what the job's request asks for."""
    return _ACTIONS[job.request.action](job)
