"""Layouts of other tools: a folder without a migration at its top, whose migrations are somewhere below it.

Imported late, for folders without any migration. Reads names only, and not many.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from migrator.errors import ForeignLayout
from migrator.files.migration import is_migration

_MOST_NAMES = 5000
_DEEPEST = 3  # folders below the one that is given
_NOT_ENTERED = frozenset({"node_modules", "vendor", "target", "venv", "__pycache__"})
_ADOPTED = "a database that has them already is adopted"


class _Layout(NamedTuple):
    """What paths below the folder tell which tool, and what a person does by hand."""

    tool: str
    paths: str
    fix: str


_LAYOUTS = (
    _Layout(
        "sqitch", r"sqitch\.plan|(?:.+/)?(?:deploy|revert)/[^/]+\.sql",
        "copy each deploy/NAME.sql to 001_NAME.sql and so on, in the order of sqitch.plan, and revert/NAME.sql to "
        "001_NAME.down.sql",
    ),
    _Layout(
        "Prisma, or Drizzle", r"[^/]+/migration\.sql",
        f"copy each NAME/migration.sql to NAME.sql in this folder; {_ADOPTED}",
    ),
    _Layout(
        "Diesel, Hasura or Movine", r"(?:[^/]+/)?[^/]+/(?:up|down)\.sql",
        f"copy each NAME/up.sql to NAME.sql in this folder, and NAME/down.sql to NAME.down.sql; {_ADOPTED}",
    ),
    _Layout(
        "a tool with the folders up and down", r"(?:.+/)?(?:up|down)/[^/]+\.sql",
        f"copy each up/NAME.sql to this folder, and down/NAME.sql to NAME.down.sql; {_ADOPTED}",
    ),
    _Layout(
        "graphile-migrate", r"committed/[^/]+\.sql",
        "set MIGRATIONS_DIR to its folder committed; current.sql becomes a file of its own there",
    ),
    _Layout(
        "Alembic", r"env\.py|script\.py\.mako|versions/[^/]+\.py|alembic\.ini",
        'write its SQL to files: "alembic upgrade FROM:TO --sql" prints that of each revision',
    ),
    _Layout(
        "Django, or yoyo", r"[0-9]{4,}[-_.][^/]*\.py",
        'write its SQL to files: "python manage.py sqlmigrate APP NAME" prints that of each migration',
    ),
    _Layout("Rails", r"[0-9]{14}_[^/]+\.rb", "write the SQL of each migration, or db/structure.sql, to files"),
    _Layout(
        "Liquibase", r"(?:.+/)?[^/]*change-?log[^/]*\.(?:xml|ya?ml|json)",
        'write its SQL to files: "liquibase update-sql" prints it',
    ),
    _Layout(
        "Entity Framework", r"[0-9]{14}_[^/]+\.cs",
        'write its SQL to files: "dotnet ef migrations script FROM TO" prints that of each migration',
    ),
    _Layout(
        "Knex, Sequelize, TypeORM, node-pg-migrate or db-migrate", r"[0-9]{3,}[^/]*\.[cm]?[jt]s",
        "write the SQL of each migration to a file NAME.sql; where it reads SQL files of a folder, copy those",
    ),
    _Layout("Laravel, Doctrine or Phinx", r"(?:Version)?[0-9]{4}[^/]*\.php", "write the SQL of each one to a file"),
    _Layout("Ecto", r"[0-9]{14}_[^/]+\.exs", "write the SQL of each migration to a file"),
    _Layout("goose", r"[0-9]{3,}[^/]*\.go", "write the SQL of each migration to a file"),
)  # fmt: skip
_BESIDE = {"revert": "deploy", "down": "up", "undo": "do", "rollback": "deploy"}


def refuse_foreign_layout(path: str | os.PathLike[str]) -> None:
    """Raise ForeignLayout for a folder without a migration that seems to be another tool's; an empty one is fine."""
    below = list(_paths(path))
    for layout in _LAYOUTS:
        if name := _matching(layout.paths, below):
            raise ForeignLayout(
                f"there is no migration directly in this folder; {name} looks like the layout of {layout.tool}",
                fix=f"{layout.fix}. Files in subfolders are not run",
            )
    if lower := next((name.rpartition("/")[0] for name in below if "/" in name and is_migration(name)), ""):
        raise ForeignLayout(
            f"there is no migration directly in this folder, and there are .sql files in its subfolder {lower}",
            fix=f"set MIGRATIONS_DIR (or --migrations) to {os.path.join(path, lower)}, or copy the files here",
        )


def refuse_down_folder(path: str | os.PathLike[str]) -> None:
    """Raise ForeignLayout for a folder named as one of down migrations, with that of the migrations beside it."""
    parent, name = os.path.split(os.path.abspath(path))
    beside = _BESIDE[name]
    if os.path.isdir(os.path.join(parent, beside)):
        raise ForeignLayout(
            f"the folder {name} beside {beside} has their down migrations, which are not run forward",
            fix=f"set MIGRATIONS_DIR (or --migrations) to {os.path.join(parent, beside)}",
        )


def _matching(pattern: str, names: Sequence[str]) -> str:
    compiled = re.compile(pattern)
    return next((name for name in names if compiled.fullmatch(name)), "")


def _paths(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the paths of files below a folder, relative to it, in the order of names, some thousand at most."""
    left = _MOST_NAMES
    for folder, folders, files in os.walk(path):
        inside = os.path.relpath(folder, path).replace(os.sep, "/")
        prefix = "" if inside == "." else f"{inside}/"
        deep = prefix.count("/") >= _DEEPEST
        folders[:] = [] if deep else sorted(f for f in folders if f not in _NOT_ENTERED and not f.startswith("."))
        for name in sorted(files):
            left -= 1
            if left < 0:
                return
            yield prefix + name
