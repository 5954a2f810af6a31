"""The question before what cannot be taken back."""

from __future__ import annotations

import sys
from argparse import Namespace

from migrator.errors import UsageError


def confirm_rotation(arguments: Namespace) -> None:
    """Ask before passwords are made anew; raises UsageError where nobody can answer, or the answer is not yes."""
    if arguments.yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("rotate changes passwords, and nobody is here to ask", fix="add --yes")
    place = f"Function {arguments.function}: " if arguments.function else ""
    question = f"{place}New passwords for: {arguments.user or 'all users'}.\nType yes to go on: "
    print(question, end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != "yes":
        raise UsageError("not confirmed; nothing was changed", fix="type yes, or add --yes")
    arguments.yes = True
