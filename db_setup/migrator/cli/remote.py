"""A run by a deployed function: what it is asked, the question before it, and what it says afterwards."""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from migrator.cli.lambda_function import LambdaFunction, Reply
from migrator.cli.terminal import Terminal
from migrator.errors import DbSetupError, FunctionFailed, RunInterrupted, UsageError
from migrator.formatting import counted
from migrator.report import Report

_READ_ONLY = frozenset({"plan", "status", "history", "rehearse"})
_FIELDS = Report("status", "").body().keys()
_OUR_ERROR = re.compile(r"\n\[([a-z_]+)\]\Z")


class FailedThere(FunctionFailed):
    """The error of a run in the function, told in its own words, with its code and exit status."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code
        self.exit_status = UsageError.exit_status if code in _codes(UsageError) else DbSetupError.exit_status

    def __str__(self) -> str:
        return self.what


def _codes(kind: type[DbSetupError]) -> set[str]:
    return {kind.code}.union(*(_codes(child) for child in kind.__subclasses__()))


def run_function(arguments: Namespace, event: dict[str, Any], terminal: Terminal) -> dict[str, Any]:
    """Have the function carry out an event and return its answer's body, the same as that of a local run.

    On a terminal, whatever changes data is asked about before. Raises RunInterrupted when the reply is not yes, what
    ``LambdaFunction.invoke`` raises, and the errors of a run in the function.
    """
    name = arguments.function.strip()
    function = LambdaFunction(name, arguments.profile or "", arguments.region or "")
    changes = event["action"] not in _READ_ONLY and not event.get("dry_run", False) and event.get("confirm", True)
    if changes and not getattr(arguments, "yes", False) and sys.stdin is not None and sys.stdin.isatty():
        with _interruptible("interrupted; nothing was applied"):
            _confirm(function, event, terminal)
    with _interruptible(f"interrupted; the function goes on: python db_setup status --function {name}"):
        return _call(function, event, terminal)


@contextmanager
def _interruptible(text: str) -> Iterator[None]:
    """Say what Ctrl-C means here."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(text) from None


def _confirm(function: LambdaFunction, event: dict[str, Any], terminal: Terminal) -> None:
    """Show what would be done and ask; both on standard error, since the result alone goes to standard output."""
    what = f"{event['action']} to {event['target_revision']}"
    if event["action"] == "migrate":
        plan = _call(function, {**event, "action": "plan"}, terminal)
        if not plan["pending_migrations"]:
            return
        Terminal(sys.stderr, sys.stderr, quiet=False).show(plan)
        what = f"apply {counted(len(plan['pending_migrations']))}"
    sys.stderr.write(f"Function {function.name} in {function.region} is to {what}.\nType yes to go on: ")
    sys.stderr.flush()
    if sys.stdin.buffer.readline().strip() != b"yes":
        raise RunInterrupted("nothing was applied: the reply was not yes", fix="--yes goes on without a question")


def _call(function: LambdaFunction, event: dict[str, Any], terminal: Terminal) -> dict[str, Any]:
    """Call the function, tell what its log remarks, and return its answer's body."""
    terminal.listen("migration.started", {"migration": f"function {function.name}"})  # shows the time that passes
    try:
        reply = function.invoke(event)
    finally:
        terminal.close()
    for remark in filter(None, map(_remark, reply.log.splitlines())):
        terminal.remark(*remark)
    return _body(function.name, reply)


def _remark(line: str) -> tuple[str, dict[str, Any]] | None:
    """Return the event that a line of the log tells; other lines, and one that is cut, tell none."""
    if not line.startswith('{"event": '):
        return None
    try:
        fields = json.loads(line)
    except ValueError:  # Lambda keeps the last 4 KB only, and ends a run in the middle of a line
        return None
    return str(fields["event"]), fields


def _body(name: str, reply: Reply) -> dict[str, Any]:
    """Return the body of an answer. Raises FailedThere and FunctionFailed."""
    try:
        answer = json.loads(reply.payload)
    except ValueError:
        answer = None  # which is not ours either
    if reply.failed:
        raise _failure(name, answer if isinstance(answer, dict) else {})
    body = answer.get("body") if isinstance(answer, dict) else None
    if not isinstance(body, dict) or not body.keys() >= _FIELDS:
        raise FunctionFailed(
            f"the function {name} answered, and not as this db_setup does",
            fix="check the function's name; where it has another version of db_setup, deploy this one",
        )
    return body


def _failure(name: str, error: dict[str, Any]) -> FunctionFailed:
    """Return the error that the payload of a failed call tells of."""
    kind, text = str(error.get("errorType", "")), str(error.get("errorMessage", ""))
    if found := _OUR_ERROR.search(text):
        return FailedThere(text, found[1])
    kept, fix = next((kept, fix) for part, kept, fix in _CRASHES if part in f"{kind} {text}")
    said = ": ".join(part for part in (kind, text) if part) or "it gave no reason"
    return FunctionFailed(f"the function {name} failed: {said}", applied=kept, fix=fix.format(name=name))


_COMMITTED = "what was committed, with its record; a re-run carries on"
_NOTHING = "the database as it was"
_CRASHES = (
    ("Task timed out", _COMMITTED, "see its log for what it waited for; give the function more time"),
    ("Timedout", _COMMITTED, "see its log for what it waited for; give the function more time"),
    ("OutOfMemory", _COMMITTED, "give the function more memory"),
    ("signal: killed", _COMMITTED, "give the function more memory"),
    ("ResponseSizeTooLarge", _COMMITTED, "python db_setup status --function {name} tells what is applied"),
    (
        "No module named 'psycopg2",
        _NOTHING,
        "put psycopg2 into the function's code or a layer, built for its Python and its architecture",
    ),
    ("ImportModule", _NOTHING, "the function's code must be the whole folder db_setup, initializer.py at its root"),
    ("HandlerNotFound", _NOTHING, "set the function's handler to initializer.handler"),
    ("UserCodeSyntaxError", _NOTHING, "choose a runtime of Python 3.11 or newer for the function"),
    ("", _COMMITTED, "see the function's log"),
)
