"""The command line: arguments in, an action, an exit status out.

With ``--json`` one object goes to standard output, whatever happens; ``answer.schema.json`` describes it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Any, TextIO

from migrator.cli.arguments import ACTIONS, parser, refuse_mixture, wants_json
from migrator.cli.interruption import interruptible
from migrator.cli.terminal import Terminal, standard_terminal
from migrator.database import Deadline
from migrator.errors import DbSetupError, MissingPackage, RunInterrupted
from migrator.planning import states
from migrator.request import Request
from migrator.settings import Settings

if TYPE_CHECKING:
    from migrator.context import RunContext

DONE, FAILED, PENDING, DRIFT, INTERRUPTED, CLOSED_PIPE = 0, 1, 3, 4, RunInterrupted.exit_status, 141


class _Interrupted(RunInterrupted):
    """A signal outside a supervised run."""

    def body(self) -> dict[str, Any]:
        """Return the failure for JSON; whether a run has been made, here or by a function, is not known."""
        return super().body() | {"applied_migrations": None, "pending_migrations": None}


_INTERRUPTED = _Interrupted(
    "interrupted", fix="run it again: what was committed is recorded, and a re-run carries on from there"
)


def main(words: Sequence[str], find_packages: Callable[[], None] = lambda: None) -> int:
    """Carry out a command line and return its exit status.

    ``find_packages`` is called when the driver or boto3 is not installed; it may start the program anew elsewhere.
    """
    failures, output = _Failures(words), _Output(held=wants_json(words))
    try:
        with interruptible(lambda: _flushed(output.written(failures.interrupted(output, "")))), output:
            status = _carry_out(words, failures, find_packages, output)
    except KeyboardInterrupt as interrupt:
        status = failures.interrupted(output, str(interrupt))
    except BrokenPipeError:  # whoever read the output has read enough
        status = CLOSED_PIPE
    status = _flushed(output.written(status))
    if status == DONE and output.acknowledge is not None:
        with suppress(KeyboardInterrupt), interruptible(lambda: DONE):
            output.acknowledge()
    return status


class _Output:
    """Standard output; where it is ``held``, for JSON, it is written when no signal can cut it or add to it."""

    def __init__(self, *, held: bool) -> None:
        self._held = StringIO() if held else None
        self._stdout = sys.stdout
        self.acknowledge: Callable[[], None] | None = None
        """What is called once the answer is written: now the caller has it."""

    def __enter__(self) -> None:
        if self._held is not None:
            sys.stdout = self._held

    def __exit__(self, *_: object) -> None:
        sys.stdout = self._stdout

    @property
    def has_answer(self) -> bool:
        """Whether an answer is held."""
        return self._held is not None and bool(self._held.getvalue())

    def written(self, status: int) -> int:
        """Write what is held; return the status, or that of a pipe that nobody reads any more."""
        sys.stdout = self._stdout
        try:
            print(self._held.getvalue() if self._held is not None else "", end="")
        except BrokenPipeError:
            return CLOSED_PIPE
        return status


def _carry_out(words: Sequence[str], failures: _Failures, find_packages: Callable[[], None], output: _Output) -> int:
    try:
        return _run(parser(words).parse_args(words), failures.terminal, output)
    except DbSetupError as error:
        return failures.report(error)
    except ModuleNotFoundError as missing:
        not_installed = _missing_package(missing, words)
        find_packages()
        return failures.report(not_installed)
    except SystemExit as end:  # the parser has printed the help, the version, or what is wrong
        return int(end.code or DONE)
    finally:
        failures.terminal.close()


class _Failures:
    """Reports errors: as text on standard error, or as one JSON object on standard output."""

    def __init__(self, words: Sequence[str]) -> None:
        self._json = wants_json(words)
        self._action = words[0] if words and words[0] in ACTIONS else None
        self._started = time.monotonic()
        self.terminal = standard_terminal(quiet=self._json)

    def interrupted(self, output: _Output, text: str) -> int:
        """Report that a signal has ended the program, unless the answer is there already; return the exit status."""
        if output.has_answer:
            return INTERRUPTED
        with output:
            return self.report(_Interrupted(text) if text else _INTERRUPTED, text)

    def report(self, error: DbSetupError, text: str = "") -> int:
        """Print an error, people get another ``text`` if there is one; return the exit status."""
        self.terminal.close()
        if not self._json:
            self.terminal.error(text or str(error))
            return error.exit_status
        duration_ms = int((time.monotonic() - self._started) * 1000)
        print(json.dumps({"success": False, "action": self._action, **error.body(), "duration_ms": duration_ms}))
        return error.exit_status


def _flushed(status: int) -> int:
    """Write what is still to be written; return the status, or that of a pipe that nobody reads any more."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not _flush(stream) and stream is sys.stdout:
            status = CLOSED_PIPE
    return status


def _flush(stream: TextIO) -> bool:
    try:
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # the interpreter flushes once more when it ends
        return False
    return True


def _missing_package(missing: ModuleNotFoundError, words: Sequence[str]) -> MissingPackage:
    """Return the error for a package that is not installed; raises what is missing of db_setup itself."""
    name = (missing.name or "").partition(".")[0]
    if name == "boto3":
        return MissingPackage("boto3 is not installed", fix=f"{sys.executable} -m pip install boto3")
    if name != "psycopg2":
        raise missing
    fix = "pip install -r db_setup/requirements.txt, or make run"
    if words[:1] == ["number"]:
        what = "psycopg2 is not installed, and without it the numbers that the database has given are not known"
        return MissingPackage(what, fix=f"{fix}; or number the files without a database: unset its variables")
    return MissingPackage("psycopg2 is not installed", fix=fix)


def _run(arguments: Namespace, terminal: Terminal, output: _Output) -> int:
    refuse_mixture(arguments)
    if arguments.function is not None:
        return _run_in_function(arguments, terminal, output)
    if arguments.action == "lint":
        from migrator.cli.lint import lint  # noqa: PLC0415

        build = partial(_first_failure, arguments, terminal) if arguments.build else None
        return DONE if lint(arguments, _settings(arguments), _base(), build) else FAILED
    if arguments.action == "new":
        from migrator.cli.scaffold import make_next_file  # noqa: PLC0415

        created = make_next_file(_base(), _settings(arguments), arguments.name)
        return _report_files(arguments, "created", created, f"created {created}")
    return _run_here(arguments, terminal, output)


def _run_in_function(arguments: Namespace, terminal: Terminal, output: _Output) -> int:
    # the driver is not needed for this, and a local run needs nothing of it
    from migrator.cli.remote import acknowledge, run_function  # noqa: PLC0415

    event = _event(arguments)
    if event["action"] == "rollback" and event["target_revision"] == "head" and arguments.yes:
        event["heard"] = False  # which is said once the answer is written
    Request.parse(event)  # what makes no sense is refused here already
    _confirm(arguments)
    body = run_function(arguments, event, terminal)
    output.acknowledge = partial(acknowledge, arguments, event, body, terminal)
    return _finish(arguments, terminal, body, "")


def _confirm(arguments: Namespace) -> None:
    if arguments.action == "rotate":
        from migrator.cli.prompt import confirm_rotation  # noqa: PLC0415

        confirm_rotation(arguments)


def _run_here(arguments: Namespace, terminal: Terminal, output: _Output) -> int:
    settings, request = _settings(arguments), Request.parse(_event(arguments))
    if arguments.action != "number":
        from migrator.database import connect  # noqa: F401, PLC0415 - without the driver nothing is begun

        _confirm(arguments)
    settings, hint = _with_local_database(arguments, settings)
    context = _context(settings, request, terminal)
    if arguments.action == "number":
        from migrator.cli.scaffold import number_files  # noqa: PLC0415

        renamed = number_files(context)
        lines = [f"renamed {text}" for text in renamed] or ["every file has a number"]
        return _report_files(arguments, "renamed", renamed, "\n".join(lines))
    if getattr(arguments, "sql", False):
        from migrator.cli.export import export  # noqa: PLC0415

        export(context, lambda text: sys.stdout.buffer.write(text.encode()))
        return DONE
    from migrator.actions import perform  # noqa: PLC0415

    body = perform(context).body()
    output.acknowledge = context.acknowledge
    return _finish(arguments, terminal, body, hint)


def _first_failure(arguments: Namespace, terminal: Terminal) -> DbSetupError | None:
    """Build the files as a new database gets them, on the server that is named, and return why that fails."""
    from migrator.drift import new_database  # noqa: PLC0415 - like the driver, for those who name a server

    settings, _ = _with_local_database(arguments, _settings(arguments))
    context = _context(settings, Request(), terminal)
    with closing(context.connect()) as connection:
        return new_database.first_failure(context, connection, context.read_folder())


def _context(settings: Settings, request: Request, terminal: Terminal) -> RunContext:
    from migrator.context import RunContext  # noqa: PLC0415 - a deployed function needs nothing of it here

    deadline = Deadline.of_run(settings.migration_timeout, None)
    return RunContext(settings, request, _base(), deadline, terminal.listen, f"{_host()}-{os.getpid()}")


def _host() -> str:
    """Return the name of this machine; the socket module, which has it too, takes 2 ms to load."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def _base() -> str:
    """Return the drop-in folder."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def _settings(arguments: Namespace) -> Settings:
    settings = Settings.from_env(os.environ)
    if getattr(arguments, "database_url", None):
        settings = settings._replace(database_url=arguments.database_url)
    if arguments.migrations:
        settings = settings._replace(migrations_dir=arguments.migrations)
    return settings


def _event(arguments: Namespace) -> dict[str, Any]:
    """Return the event that asks a function for what the command line asks for."""
    action = "migrate" if arguments.action == "number" else arguments.action
    event: dict[str, Any] = {"action": action, "target_revision": getattr(arguments, "target", "head")}
    if user := getattr(arguments, "user", None):
        event["user"] = user
    if action in {"adopt", "baseline", "rollback", "repair", "resolve"} and arguments.yes:
        event["confirm"] = True
    if action == "resolve":
        event["step"] = arguments.step
    if getattr(arguments, "steps", None) is not None:
        event["steps"] = arguments.steps
    return {**event, "dry_run": True} if getattr(arguments, "dry_run", False) else event


def _with_local_database(arguments: Namespace, settings: Settings) -> tuple[Settings, str]:
    """Fill in the local server where no database is named: a new one with --local, else one that is there."""
    if settings.database_url or settings.secret_name or settings.host or settings.name:
        return settings, ""
    # only a developer's machine has, or needs, what follows
    from migrator.cli.local_server import LocalServer, project_data_folder  # noqa: PLC0415

    folder = project_data_folder()
    if not arguments.local and not folder.exists():
        return settings, ""
    server = LocalServer(folder).start()
    found = server.binaries
    hint = f"Database: PostgreSQL {found.version} ({found.source}) in {os.path.relpath(folder)}"
    hint += f"\nConnect:  {server.psql_command}"
    return settings._replace(database_url=server.url), hint


def _report_files(arguments: Namespace, field: str, value: str | list[str], message: str) -> int:
    """Print what was done to files."""
    if arguments.json:
        print(json.dumps({"success": True, "action": arguments.action, "message": message, field: value}))
    else:
        print(message)
    return DONE


def _finish(arguments: Namespace, terminal: Terminal, body: dict[str, Any], hint: str) -> int:
    """Print the body of an answer, the same wherever it comes from, and return the exit status."""
    terminal.close()
    if arguments.json:
        print(json.dumps(body))
    else:
        terminal.show(body)
        if hint:
            print(hint)
    return _status(arguments, body)


def _status(arguments: Namespace, body: dict[str, Any]) -> int:
    if arguments.action == "verify" and body["state"] == states.DRIFTED:
        return DRIFT
    if arguments.action in {"rehearse", "adopt", "verify"} and not body["success"]:
        return FAILED
    if not getattr(arguments, "check", False):
        return DONE
    if body["state"] == states.INCONSISTENT:
        return FAILED
    return PENDING if body["pending_migrations"] else DONE
