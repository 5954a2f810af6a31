"""The command line: arguments in, an action, an exit status out."""

from __future__ import annotations

import json
import os
import socket
from argparse import Namespace
from collections.abc import Sequence

from migrator.actions.dispatch import perform
from migrator.command_line.arguments import parser
from migrator.command_line.terminal import Terminal, standard_terminal
from migrator.deadline import Deadline
from migrator.errors import DbSetupError
from migrator.job import Job
from migrator.light import Any
from migrator.plan import DRIFTED, INCONSISTENT
from migrator.report import Report
from migrator.settings import Request, Settings

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
    except KeyboardInterrupt:
        terminal.error("interrupted; what was committed is recorded, and a re-run carries on")
        return INTERRUPTED
    finally:
        terminal.close()


def _run(arguments: Namespace, terminal: Terminal) -> int:
    settings = _settings(arguments)
    if arguments.action == "new":
        from migrator.command_line.files import make_next_file  # noqa: PLC0415

        return _tell(arguments, {"created": make_next_file(_base(), settings, arguments.name)})
    request = _request(arguments)
    settings, hint = _with_local_database(arguments, settings)
    deadline = Deadline.of_run(settings.migration_timeout, None)
    job = Job(settings, request, _base(), deadline, terminal.listen, f"{socket.gethostname()}-{os.getpid()}")
    if arguments.action == "number":
        from migrator.command_line.files import number_files  # noqa: PLC0415

        return _tell(arguments, {"renamed": number_files(job)})
    report = perform(job)
    terminal.close()
    _print_report(arguments, terminal, report, hint)
    return _status(arguments, report)


def _base() -> str:
    """Return the drop-in folder."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def _settings(arguments: Namespace) -> Settings:
    settings = Settings.from_env(os.environ)
    if arguments.database_url:
        settings = settings._replace(database_url=arguments.database_url)
    if arguments.migrations:
        settings = settings._replace(migrations_dir=arguments.migrations)
    return settings


def _request(arguments: Namespace) -> Request:
    action = "migrate" if arguments.action == "number" else arguments.action
    event: dict[str, Any] = {"action": action, "target_revision": getattr(arguments, "target", "head")}
    confirm, dry_run = getattr(arguments, "yes", False), getattr(arguments, "dry_run", False)
    return Request.parse({**event, "dry_run": dry_run, "confirm": confirm})


def _with_local_database(arguments: Namespace, settings: Settings) -> tuple[Settings, str]:
    """Fill in the local server where no database is named: a new one with --local, else one that is there."""
    if settings.database_url or settings.secret_name or settings.host or settings.name:
        return settings, ""
    # only a developer's machine has, or needs, what follows
    from migrator.command_line.local_server import LocalServer, project_data_folder  # noqa: PLC0415

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
        (what, value), = result.items()
        for line in value if isinstance(value, list) else [value]:
            print(f"{what} {line}")
        if value == []:
            print("every file has a number")
    return DONE


def _print_report(arguments: Namespace, terminal: Terminal, report: Report, hint: str) -> None:
    if arguments.json:
        print(json.dumps(report.body()))
        return
    terminal.show(report)
    if hint:
        print(hint)


def _status(arguments: Namespace, report: Report) -> int:
    if report.action == "verify" and report.state == DRIFTED:
        return DRIFT
    if not getattr(arguments, "check", False):
        return DONE
    if report.state == INCONSISTENT:
        return FAILED
    return PENDING if report.pending else DONE
