"""A run by a deployed function: its event, the question before it, and its answer, log or error."""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from migrator.cli.lambda_function import LambdaFunction, Reply
from migrator.cli.prompt import asks, confirm
from migrator.cli.terminal import Terminal
from migrator.errors import DbSetupError, FunctionFailed, Progress, RunInterrupted
from migrator.formatting import counted
from migrator.report import Report

_READ_ONLY = frozenset({"plan", "status", "history", "rehearse"})
_FIELDS = Report("status", "").body().keys()
_OUR_ERROR = re.compile(
    r"""\A(?:(?P<file>[^\n]+?):(?P<line>\d+):(?P<column>\d+)\ \ )? [^\n]*? (?:\((?P<sqlstate>[0-9A-Z]{5})\))?
        (?:\n.*?)?? (?:\nFix:\ (?P<fix>.*))? \n\[(?P<code>[a-z_]+)\]\Z""",
    re.DOTALL | re.VERBOSE,
)

Event = tuple[str, dict[str, Any]]
"""An event of the function's log: its name and its fields."""


class FailedThere(FunctionFailed):
    """The error of a run in the function: its text, its exit status, and its fields as far as they are known.

    Its log has all of them; where the log is cut, the text has some.
    """

    def __init__(self, text: str, fields: Mapping[str, Any]) -> None:
        super().__init__(text)
        self.code = str(fields["code"])
        self.exit_status = _exit_statuses(DbSetupError).get(self.code, DbSetupError.exit_status)
        self._fields = fields

    def __str__(self) -> str:
        return self.what

    def body(self) -> dict[str, Any]:
        """Return the failure for JSON, as the function's own log has it."""
        body = super().body()
        names = (*body, *Progress(back=()).body())  # those of a rollback, too
        return body | {name: self._fields[name] for name in names if name in self._fields} | {"message": self.what}


def _exit_statuses(kind: type[DbSetupError]) -> dict[str, int]:
    """Return the exit status of each code of an error and of all that come from it."""
    found = {kind.code: kind.exit_status}
    for child in kind.__subclasses__():
        found |= _exit_statuses(child)
    return found


def run_function(arguments: Namespace, event: dict[str, Any], terminal: Terminal) -> dict[str, Any]:
    """Have the function carry out an event and return its answer's body, the same as that of a local run.

    On a terminal, whatever changes data is confirmed before. Raises RunInterrupted when the reply is not yes, what
    ``LambdaFunction.invoke`` raises, and the errors of a run in the function.
    """
    name = arguments.function.strip()
    function = LambdaFunction(name, arguments.profile or "", arguments.region or "")
    changes = event["action"] not in _READ_ONLY and not event.get("dry_run", False) and event.get("confirm", True)
    if changes and not getattr(arguments, "yes", False) and asks():
        with _interruptible("interrupted; nothing was applied"):
            _confirm(function, event, terminal)
    with _interruptible(f"interrupted; the function goes on: python db_setup status --function {name}"):
        return _call(function, event, terminal)


def acknowledge(arguments: Namespace, event: dict[str, Any], body: dict[str, Any], terminal: Terminal) -> None:
    """Tell the function that its answer was heard, where the event has said that this is told."""
    if event.get("heard") is not False or not body.get("run_id"):
        return
    function = LambdaFunction(arguments.function.strip(), arguments.profile or "", arguments.region or "")
    try:
        _body(function.name, function.invoke({"action": "rollback", "heard": body["run_id"]}))
    except DbSetupError as error:
        terminal.remark("run.unrecorded", {"run": body["run_id"], "reason": error.what})


@contextmanager
def _interruptible(text: str) -> Iterator[None]:
    """Say what Ctrl-C means here."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(text) from None


def _confirm(function: LambdaFunction, event: dict[str, Any], terminal: Terminal) -> None:
    """Show what would be done, on standard error like the question, and ask."""
    what = f"run {event['action']} (target: {event['target_revision']})"
    if event["action"] == "migrate":
        plan = _call(function, {**event, "action": "plan"}, terminal)
        if not plan["pending_migrations"]:
            return
        Terminal(sys.stderr, sys.stderr, quiet=False).show(plan)
        what = f"apply {counted(len(plan['pending_migrations']))}"
    declined = RunInterrupted("nothing was applied: the reply was not yes", fix="--yes goes on without a question")
    confirm(f"Function {function.name} in {function.region} will {what}.", declined.replace(exit_status=1))


def _call(function: LambdaFunction, event: dict[str, Any], terminal: Terminal) -> dict[str, Any]:
    """Call the function, show the events of its log, and return its answer's body."""
    terminal.listen("migration.started", {"migration": f"function {function.name}"})  # shows the time that passes
    try:
        reply = function.invoke(event)
    finally:
        terminal.close()
    events = list(filter(None, map(_event, reply.log.splitlines())))
    for event_and_fields in events:
        terminal.remark(*event_and_fields)
    return _body(function.name, reply, events)


def _event(line: str) -> Event | None:
    """Return the event of a line of the log; other lines, and one that is cut, have none."""
    if not line.startswith('{"event": '):
        return None
    try:
        fields = json.loads(line)
    except ValueError:  # Lambda keeps the last 4 KB only, and ends a run in the middle of a line
        return None
    return str(fields["event"]), fields


def _body(name: str, reply: Reply, events: Sequence[Event] = ()) -> dict[str, Any]:
    """Return the body of an answer. Raises FailedThere and FunctionFailed."""
    try:
        answer = json.loads(reply.payload)
    except ValueError:
        answer = None  # which is not ours either
    if reply.failed:
        raise _failure(name, answer if isinstance(answer, dict) else {}, events)
    body = answer.get("body") if isinstance(answer, dict) else None
    if not isinstance(body, dict) or not body.keys() >= _FIELDS:
        raise FunctionFailed(
            f"the function {name} answered, and not as this db_setup does",
            fix="check the function's name; where it has another version of db_setup, deploy this one",
        )
    return body


def _failure(name: str, error: dict[str, Any], events: Sequence[Event]) -> FunctionFailed:
    """Return the error in the payload of a failed call."""
    kind, text = str(error.get("errorType", "")), str(error.get("errorMessage", ""))
    if found := _OUR_ERROR.match(text):
        logged = (
            fields for event, fields in reversed(events) if event == "run.finished" and fields.get("message") == text
        )
        return FailedThere(text, next(logged, _fields_of(found)))
    applied, fix = next((applied, fix) for part, applied, fix in _CRASHES if part in f"{kind} {text}")
    reason = ": ".join(part for part in (kind, text) if part) or "it gave no reason"
    return FunctionFailed(f"the function {name} failed: {reason}", applied=applied, fix=fix.format(name=name))


def _fields_of(found: re.Match[str]) -> dict[str, Any]:
    """Return the fields that the text of an error shows."""
    fields: dict[str, Any] = found.groupdict()
    return fields | {name: int(fields[name]) for name in ("line", "column") if fields[name]}


_COMMITTED = "what was committed, with its record; a re-run carries on"
_NOTHING = "the database as it was"
_CRASHES = (
    ("Task timed out", _COMMITTED, "see its log for what it waited for; give the function more time"),
    ("Timedout", _COMMITTED, "see its log for what it waited for; give the function more time"),
    ("OutOfMemory", _COMMITTED, "give the function more memory"),
    ("signal: killed", _COMMITTED, "give the function more memory"),
    ("ResponseSizeTooLarge", _COMMITTED, "python db_setup status --function {name} shows what is applied"),
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
