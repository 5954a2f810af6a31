"""The command line's grammar."""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from migrator.errors import UsageError
from migrator.formatting import mask_passwords
from migrator.request import ANSWERS
from migrator.version import VERSION

_PROGRAM = "python db_setup"
_EPILOG = """\
the database: --database-url, or DATABASE_URL, or DB_SECRET_NAME, or DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD;
without any, the local one that `make run` has made; --function: the one that the function in AWS works on
exit status: 0 done, 1 failed, 2 wrong usage, 3 something is pending (status --check), 4 drifted (verify),
130 interrupted, 141 the output went into a closed pipe
"""


ACTIONS = {
    "migrate": "apply what is pending",
    "plan": "show what migrate would do; writes nothing",
    "rehearse": "run what is pending, report what it locks, and roll it back",
    "status": "show what is applied and what is pending; writes nothing",
    "history": "show who applied what, when, and whether it was changed by hand; writes nothing",
    "verify": "compare the database with what its applied files build",
    "adopt": "find out which files are applied to a database without a history; with --yes it is recorded",
    "baseline": "record files as applied, without comparing anything; without --yes only shown",
    "rotate": "give limited users new passwords; the old ones work until the next rotation",
    "lint": "look for mistakes and dangerous statements in the files; needs no database",
    "rollback": "roll back what was applied last, by the .down.sql files; without --yes only shown",
    "repair": "show edited, missing and renamed files; with --yes the history accepts them as they are",
    "resolve": "say what became of a step that nothing shows; without --yes only shown",
    "new": "make the next file",
    "number": "put numbers before the names of unnumbered files",
}
_SHOWN_FIRST = frozenset({"rollback", "repair", "resolve"})
_ON_FILES = frozenset({"lint", "new", "number"})


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Formats help in one width; to ask the terminal for its own is 4 ms of CPU for every run, help or not."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=100)


class _Parser(argparse.ArgumentParser):
    """Ends the program on wrong usage; a URL in a wrong place is shown without its password."""

    def error(self, message: str) -> NoReturn:
        super().error(_without_passwords(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            sys.stdout.write(message)  # argparse would ignore a closed pipe
        else:
            super()._print_message(message, file)


class _RaisingParser(_Parser):
    """Raises UsageError on wrong usage, for whoever wants JSON."""

    def error(self, message: str) -> NoReturn:
        usage = " ".join(self.format_usage().split())
        raise UsageError(_without_passwords(message), fix=f"{usage.removeprefix('usage: ')}; --help explains it")


def _without_passwords(message: str) -> str:
    """Return a message without passwords, also those in a URL whose special characters are not %-encoded."""
    return mask_passwords(re.sub(r"(://[^\s:/@]*:).*@", r"\1***@", message, flags=re.DOTALL))


def wants_json(words: Sequence[str]) -> bool:
    """Return whether the words ask for JSON, also where they make no sense."""
    return "--json" in itertools.takewhile(lambda word: word != "--", words)


def parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser; on wrong usage it exits with status 2, or raises UsageError where the words ask for JSON.

    Where the words begin with an action, only that action's part is built.
    """
    kind: type[argparse.ArgumentParser] = _RaisingParser if wants_json(words) else _Parser
    main = kind(
        prog=_PROGRAM, description="Apply .sql files to PostgreSQL, each exactly once.",
        epilog=_EPILOG, formatter_class=_Formatter, allow_abbrev=False,
    )  # fmt: skip
    main.add_argument("--version", action="version", version=f"db_setup {VERSION}")
    actions = main.add_subparsers(dest="action", metavar="ACTION", required=True, prog=_PROGRAM)
    for name in words[:1] if words and words[0] in ACTIONS else ACTIONS:
        _add_action(actions, name)
    return main


def _add_action(actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    what = ACTIONS[name]
    described = f"{what[0].upper()}{what[1:]}."
    action = actions.add_parser(name, help=what, description=described, formatter_class=_Formatter, allow_abbrev=False)
    if name == "lint":
        action.add_argument("--build", action="store_true", help="also build them, as a new database gets them")
    action.add_argument("--database-url", metavar="URL", help="postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    action.add_argument("--local", action="store_true", help="start a PostgreSQL of this folder's own if none is given")
    action.add_argument("--migrations", metavar="DIR", help="the folder with the .sql files (default: migrations)")
    action.add_argument("--json", action="store_true", help="print one JSON object")
    _add_function(action, name)
    if name in {"migrate", "plan", "rehearse"}:
        action.add_argument("--target", default="head", metavar="N|NAME", help="stop after this migration")
    if name == "plan":
        action.add_argument("--sql", action="store_true", help="print it as a script for psql")
    if name == "migrate":
        action.add_argument("--dry-run", action="store_true", help="the same as plan")
    if name == "status":
        action.add_argument("--check", action="store_true", help="exit with 3 when something is pending")
    _add_own(action, name)


def _add_own(action: argparse.ArgumentParser, name: str) -> None:
    """Add what only one action, or two, have."""
    if name in {"adopt", "baseline"}:
        last = "the last one that is applied" if name == "baseline" else "the last one, for Alembic's revision"
        action.add_argument("--target", default="head", metavar="N|NAME", help=last, required=name == "baseline")
        action.add_argument("--yes", action="store_true", help="record it; without it, only report")
    if name == "rotate":
        action.add_argument("user", nargs="?", help="user, table_creator or readonly (default: all)")
        action.add_argument("--yes", action="store_true", help="do not ask")
    if name == "lint":
        action.add_argument("--base", default="", metavar="BRANCH", help="compare with this git branch (default: main)")
        action.add_argument("--github", action="store_true", help="print annotations of GitHub Actions")
        action.add_argument("--strict", action="store_true", help="take warnings for errors")
    if name == "rollback":
        which = action.add_mutually_exclusive_group()
        which.add_argument("--target", default="head", metavar="N|NAME", help='what is to stay; "base" for nothing')
        which.add_argument("--steps", type=_count, metavar="N", help="how many migrations to roll back (default: 1)")
    if name == "resolve":
        help_text = "it has done its work; or run it again"
        action.add_argument("--step", required=True, choices=ANSWERS, help=help_text)
    if name in _SHOWN_FIRST:
        action.add_argument("--yes", action="store_true", help="do it, instead of showing what would be done")
    if name == "new":
        action.add_argument("name", help='what it does, such as "add orders"')


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not a positive integer')
    return int(text)


def _add_function(action: argparse.ArgumentParser, name: str) -> None:
    """Add what is about a deployed function; an action on files knows the option only to refuse it with a reason."""
    if name in _ON_FILES:
        action.add_argument("--function", help=argparse.SUPPRESS)
        return
    action.add_argument("--function", metavar="NAME", help="have this deployed Lambda function do it (name or ARN)")
    action.add_argument("--profile", metavar="P", help="the AWS profile to call the function with")
    action.add_argument("--region", metavar="R", help="the AWS region the function is in")
    if name == "migrate":
        action.add_argument("--yes", action="store_true", help="call the function without a question on a terminal")


def refuse_mixture(arguments: argparse.Namespace) -> None:
    """Raise UsageError where options of a local run and of a deployed function's are mixed."""
    confirmed = arguments.action in {"rotate", "adopt", "baseline", *_SHOWN_FIRST}
    options = ("profile", "region") if confirmed else ("profile", "region", "yes")
    given = [option for option in options if getattr(arguments, option, None) not in {None, False}]
    if getattr(arguments, "sql", False) and (arguments.json or arguments.function is not None):
        other = "--json" if arguments.json else "--function"
        raise UsageError(f"--sql together with {other}", fix="leave out one: the script is text made here")
    if arguments.action == "lint" and not arguments.build and (arguments.database_url or arguments.local):
        option = "--local" if arguments.local else "--database-url"
        raise UsageError(f"{option} without --build", fix="add --build, or leave the database out: lint needs none")
    if arguments.function is None:
        if given:
            other = "or leave it out: a run from here does not ask" if given == ["yes"] else "or leave it out"
            raise UsageError(
                f"--{given[0]} without --function", fix=f"name the deployed function: --function NAME; {other}"
            )
        return
    if arguments.action in _ON_FILES:
        raise UsageError(
            f"{arguments.action} works on the files of this machine, not in a function", fix="leave out --function"
        )
    if not arguments.function.strip():
        raise UsageError("--function is empty", fix="name the deployed function; is a variable of the shell not set?")
    for option in ("database_url", "migrations", "local"):
        if getattr(arguments, option) not in {None, False}:
            raise UsageError(
                f"--{option.replace('_', '-')} together with --function",
                fix="leave out one of them: a deployed function has its own database and files",
            )
