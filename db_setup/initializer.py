"""The entry point for Lambda: ``initializer.handler``.

A failure is raised, never returned: the CDK Trigger takes any returned value, a statusCode of 500 too, for
success. What is raised ends up in the developer's terminal as the reason of the failed deploy.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from migrator.actions import perform
from migrator.context import RunContext
from migrator.database import Deadline, connect  # noqa: F401 - the driver is loaded at INIT
from migrator.errors import DbSetupError
from migrator.request import ACTIONS, Request
from migrator.settings import Settings
from migrator.version import VERSION

_encode = json.JSONEncoder(default=str).encode  # json.dumps would make an encoder for each line


def handler(event: object, context: Any) -> dict[str, Any]:
    """Do what the event asks (nothing asked: migrate) and answer what was found and done.

    The events and the answer are described in README.md next to this file. Raises DbSetupError on every failure.
    """
    request_id, started = str(getattr(context, "aws_request_id", "") or f"local-{os.getpid()}"), time.monotonic()
    log("run.started", {"request_id": request_id, "version": VERSION})
    try:
        run = _context(event, context, request_id)
        body = perform(run).body()
    except DbSetupError as error:
        asked = event.get("action", "migrate") if isinstance(event, Mapping) else "migrate"
        action, took = asked if asked in ACTIONS else None, int((time.monotonic() - started) * 1000)
        log("run.finished", {"request_id": request_id, "action": action, **error.body(), "duration_ms": took})
        raise
    log("run.finished", {"request_id": request_id, **body})
    if run.acknowledge is not None:
        run.acknowledge()
    return {"statusCode": 200, "body": body}


def _context(event: object, context: Any, request_id: str) -> RunContext:
    settings = Settings.from_env(os.environ)
    remaining = context.get_remaining_time_in_millis() / 1000 if context is not None else None
    deadline = Deadline.of_run(settings.migration_timeout, remaining)
    base = os.path.dirname(os.path.realpath(__file__))
    return RunContext(settings, Request.parse(event), base, deadline, log, request_id)


def log(event: str, fields: dict[str, Any]) -> None:
    """Write one line of JSON, which CloudWatch Logs Insights takes apart by itself."""
    sys.stdout.write(_encode({"event": event, **fields}) + "\n")
    if event != "migration.applied":  # the next event follows at once
        sys.stdout.flush()
