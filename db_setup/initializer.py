"""The door for Lambda: ``initializer.handler``.

A failure is raised, never returned: the CDK Trigger takes any returned value, a statusCode of 500 too, for
success. What is raised ends up in the developer's terminal as the reason of the failed deploy.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from migrator.actions.dispatch import perform
from migrator.context import RunContext
from migrator.database.deadline import Deadline
from migrator.errors import DbSetupError
from migrator.report import Report
from migrator.request import Request
from migrator.settings import Settings

_encode = json.JSONEncoder(default=str).encode  # json.dumps would make an encoder for each line


def handler(event: object, context: Any) -> dict[str, Any]:
    """Do what the event asks (nothing asked: migrate) and answer what was found and done.

    The events and the answer are described in README.md beside this file. Raises DbSetupError on every failure.
    """
    request_id = str(getattr(context, "aws_request_id", "") or f"local-{os.getpid()}")
    log("run.started", {"request_id": request_id})
    try:
        report = _run(event, context, request_id)
    except DbSetupError as error:
        log("run.finished", {"request_id": request_id, "success": False, "code": error.code, "error": str(error)})
        raise
    log("run.finished", {"request_id": request_id, "action": report.action, **report.body()})
    return report.response()


def _run(event: object, context: Any, request_id: str) -> Report:
    settings = Settings.from_env(os.environ)
    remaining = context.get_remaining_time_in_millis() / 1000 if context is not None else None
    deadline = Deadline.of_run(settings.migration_timeout, remaining)
    base = os.path.dirname(os.path.realpath(__file__))
    return perform(RunContext(settings, Request.parse(event), base, deadline, log, request_id))


def log(event: str, fields: dict[str, Any]) -> None:
    """Write one line of JSON, which CloudWatch Logs Insights takes apart by itself."""
    sys.stdout.write(_encode({"event": event, **fields}) + "\n")
    if event != "migration.applied":  # the next event follows at once
        sys.stdout.flush()
