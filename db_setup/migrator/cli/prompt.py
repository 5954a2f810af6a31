"""The question on a terminal before something that cannot be undone: the only prompt of the command line."""

from __future__ import annotations

import sys
from argparse import Namespace

from migrator.errors import DbSetupError, UsageError


def asks() -> bool:
    """Return whether standard input is a terminal, so that there is somebody to ask."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirm(question: str, declined: DbSetupError) -> None:
    """Ask on standard error, since standard output is for the result alone; raise ``declined`` unless it is yes."""
    sys.stderr.write(f"{question}\nType yes to continue: ")
    sys.stderr.flush()
    if sys.stdin.buffer.readline().strip() != b"yes":
        raise declined


def confirm_rotation(arguments: Namespace) -> None:
    """Ask before passwords are replaced; raises UsageError where nobody can answer, or the answer is not yes."""
    if arguments.yes:
        return
    if not (asks() and sys.stderr.isatty()):
        raise UsageError("rotate changes passwords, and there is no terminal to ask on", fix="add --yes")
    place = f"Function {arguments.function}: " if arguments.function else ""
    question = f"{place}New passwords for: {arguments.user or 'all users'}."
    confirm(question, UsageError("not confirmed; nothing was changed", fix="type yes, or add --yes"))
    arguments.yes = True
