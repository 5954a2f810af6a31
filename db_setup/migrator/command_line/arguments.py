"""The command line's grammar."""

from __future__ import annotations

import argparse

_EPILOG = """\
the database: --database-url, or DATABASE_URL, or DB_SECRET_NAME, or DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD;
without any, the local one that `make run` has made
exit status: 0 done, 1 failed, 2 wrong usage, 3 something is pending (status --check)
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser; it exits with status 2 on wrong usage by itself."""
    main = argparse.ArgumentParser(
        prog="python db_setup", description="Apply .sql files to PostgreSQL, each exactly once.",
        epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    actions = main.add_subparsers(dest="action", metavar="ACTION", required=True)
    migrate = _action(actions, "migrate", "apply what is pending")
    migrate.add_argument("--target", default="head", metavar="N|NAME", help="stop after this migration")
    migrate.add_argument("--dry-run", action="store_true", help="the same as plan")
    plan = _action(actions, "plan", "show what migrate would do; writes nothing")
    plan.add_argument("--target", default="head", metavar="N|NAME", help="stop after this migration")
    status = _action(actions, "status", "show what is applied and what is pending; writes nothing")
    status.add_argument("--check", action="store_true", help="exit with 3 when something is pending")
    new = _action(actions, "new", "make the next file")
    new.add_argument("name", help='what it does, such as "add orders"')
    _action(actions, "number", "put numbers before the names of unnumbered files")
    return main


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str
) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.", allow_abbrev=False)
    action.add_argument("--database-url", metavar="URL", help="postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    action.add_argument("--local", action="store_true", help="start a PostgreSQL of this folder's own if none is given")
    action.add_argument("--migrations", metavar="DIR", help="the folder with the .sql files (default: migrations)")
    action.add_argument("--json", action="store_true", help="print one JSON object")
    return action
