"""The command line: arguments in, an action, an exit status out."""

from __future__ import annotations

import json
import os
import socket
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from migrator.cli.arguments import parser, refuse_mixture
from migrator.cli.terminal import Terminal, standard_terminal
from migrator.database import Deadline
from migrator.errors import DbSetupError
from migrator.planning import states
from migrator.request import Request
from migrator.settings import Settings

DONE, FAILED, PENDING, DRIFT, INTERRUPTED = 0, 1, 3, 4, 130


def main(words: Sequence[str]) -> int:
    """Carry out a command line and return its exit status."""
    arguments = parser(words).parse_args(words)
    terminal = standard_terminal(quiet=arguments.json)
    try:
        return _run(arguments, terminal)
    except DbSetupError as error:
        terminal.close()
        if arguments.json:
            print(json.dumps({"success": False, "code": error.code, "message": str(error)}))
        else:
            terminal.error(str(error))
        return error.exit_status
    except KeyboardInterrupt as interrupt:
        terminal.close()
        terminal.error(str(interrupt) or "interrupted; what was committed is recorded, and a re-run carries on")
        return INTERRUPTED
    finally:
        terminal.close()


def _run(arguments: Namespace, terminal: Terminal) -> int:
    refuse_mixture(arguments)
    if arguments.action == "rotate":
        from migrator.cli.prompt import confirm_rotation  # noqa: PLC0415

        confirm_rotation(arguments)
    if arguments.function is not None:
        # the driver is not needed for this, and a local run needs nothing of it
        from migrator.cli.remote import run_function  # noqa: PLC0415

        event = _event(arguments)
        Request.parse(event)  # what makes no sense is refused here already
        return _finish(arguments, terminal, run_function(arguments, event, terminal), "")
    if arguments.action == "lint":
        from migrator.cli.lint import lint  # noqa: PLC0415

        return DONE if lint(arguments, _settings(arguments), _base()) else FAILED
    if arguments.action == "new":
        from migrator.cli.scaffold import make_next_file  # noqa: PLC0415

        return _tell(arguments, {"created": make_next_file(_base(), _settings(arguments), arguments.name)})
    return _run_here(arguments, terminal)


def _run_here(arguments: Namespace, terminal: Terminal) -> int:
    # the driver's part of the house, which a deployed function needs on its own machine only
    from migrator.actions import perform  # noqa: PLC0415
    from migrator.context import RunContext  # noqa: PLC0415

    settings, request = _settings(arguments), Request.parse(_event(arguments))
    settings, hint = _with_local_database(arguments, settings)
    deadline = Deadline.of_run(settings.migration_timeout, None)
    context = RunContext(settings, request, _base(), deadline, terminal.listen, f"{socket.gethostname()}-{os.getpid()}")
    if arguments.action == "number":
        from migrator.cli.scaffold import number_files  # noqa: PLC0415

        return _tell(arguments, {"renamed": number_files(context)})
    if getattr(arguments, "sql", False):
        from migrator.cli.export import export  # noqa: PLC0415

        export(context, lambda text: sys.stdout.buffer.write(text.encode()))
        return DONE
    return _finish(arguments, terminal, perform(context).body(), hint)


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
    if action in {"adopt", "baseline", "rollback", "repair"} and arguments.yes:
        event["confirm"] = True
    if getattr(arguments, "steps", None) is not None:
        event["steps"] = arguments.steps
    return {**event, "dry_run": True} if getattr(arguments, "dry_run", False) else event


def _with_local_database(arguments: Namespace, settings: Settings) -> tuple[Settings, str]:
    """Fill in the local server where no database is named: a new one with --local, else one that is there."""
    if settings.database_url or settings.secret_name or settings.host or settings.name:
        return settings, ""
    # only a developer's machine has, or needs, what follows
    from migrator.cli.local_server.server import LocalServer, project_data_folder  # noqa: PLC0415

    folder = project_data_folder()
    if not arguments.local and not folder.exists():
        return settings, ""
    server = LocalServer(folder).start()
    found = server.binaries
    hint = f"Database: PostgreSQL {found.version} ({found.source}) in {os.path.relpath(folder)}"
    hint += f"\nConnect:  {server.psql_command}"
    return settings._replace(database_url=server.url), hint


def _tell(arguments: Namespace, result: dict[str, Any]) -> int:
    """Print what was done to files."""
    if arguments.json:
        print(json.dumps(result))
    else:
        ((what, value),) = result.items()
        for line in value if isinstance(value, list) else [value]:
            print(f"{what} {line}")
        if value == []:
            print("every file has a number")
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
    if arguments.action in {"rehearse", "adopt"} and not body["success"]:
        return FAILED
    if not getattr(arguments, "check", False):
        return DONE
    if body["state"] == states.INCONSISTENT:
        return FAILED
    return PENDING if body["pending_migrations"] else DONE
