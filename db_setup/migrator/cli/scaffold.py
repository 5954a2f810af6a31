"""Files made and renamed for a developer: the next migration, and numbers for those that have none."""

from __future__ import annotations

import os
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.errors import FileInTheWay, NoDatabase, UsageError
from migrator.files.folder import default_path
from migrator.files.migration import free_numbers, is_migration, number_of, parse_number
from migrator.settings import Settings

if TYPE_CHECKING:
    from migrator.context import RunContext

_MAX_NAME_BYTES = 200
_TEMPLATE = "-- {title}\n\n"


def make_next_file(base: str | os.PathLike[str], settings: Settings, title: str) -> str:
    """Make ``NNN_title.sql`` with the next free number and return its path."""
    folder = Path(settings.migrations_dir or default_path(base))
    words = re.sub(r"[^\w]+", "_", title.removesuffix(".sql").strip().lower()).strip("_")
    if not words:
        raise UsageError(f'"{title}" has no letters to make a name of', fix='say what it does: new "add orders"')
    if len(words.encode()) > _MAX_NAME_BYTES:
        raise UsageError("the name is too long for a file", fix=f"use at most {_MAX_NAME_BYTES} bytes")
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name in os.listdir(folder) if is_migration(name)]
    names += [path.name for path in folder.glob("env/*/*.sql") if is_migration(path.name)]
    unnumbered = sum(number_of(name) is None for name in names)  # these will be given numbers before
    path = folder / f"{free_numbers(names, [], unnumbered + 1)[-1]}_{words}.sql"
    with path.open("x", encoding="utf-8") as file:
        file.write(_TEMPLATE.format(title=" ".join(title.split())))
    return os.path.relpath(path)


def number_files(context: RunContext) -> list[str]:
    """Rename unnumbered files to carry the number they have in the database, or would get; return what was done.

    Without a database the numbers follow from the folder alone. A number that another file carries is not given.
    """
    folder = context.read_folder()
    given = _given_numbers(context)
    unnumbered = [file for file in folder.files if file.number is None]
    taken = {number for file in folder.files if (number := file.number) is not None}
    names = [file.name for file in folder.files]
    free = iter(free_numbers(names, list(given.values()), len(unnumbered)))
    done = []
    for file in unnumbered:
        text = given.get(file.name, "")
        if not text or parse_number(text) in taken:
            text = next(free)
        done.append(_rename(Path(file.path), f"{text}_{Path(file.path).name}"))
    return done


def _given_numbers(context: RunContext) -> dict[str, str]:
    """Return the numbers that the history has given, or the plan would give, by file name."""
    try:
        with closing(context.connect()) as connection:
            from migrator.planning.inspection import inspect  # noqa: PLC0415 - like the driver, for those with a database

            inspection = inspect(context, context.read_folder(), connection)
    except NoDatabase:
        return {}
    given = {item.migration.name: item.number for item in inspection.plan.pending}
    return given | {row.name: row.number for row in inspection.applied}


def _rename(path: Path, name: str) -> str:
    target = path.with_name(name)
    if target.exists() or target.is_symlink():
        raise FileInTheWay(f"{name} exists", fix=f"rename {path.name} or {name} by hand")
    path.rename(target)
    return f"{path.name} -> {name}"
