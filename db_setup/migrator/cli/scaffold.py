"""Files made and renamed for a developer: the next migration, and numbers for those that have none."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.errors import FileInTheWay, InconsistentHistory, NoDatabase, UnreadableFile, UsageError
from migrator.files import (
    REPEATABLE,
    Folder,
    Migration,
    check_name,
    default_path,
    down_name,
    is_migration,
    number_of,
    parse_number,
)
from migrator.planning.numbering import free_numbers, numbered_name, numbers_in_order, on_date
from migrator.settings import Settings

if TYPE_CHECKING:
    from migrator.context import RunContext
    from migrator.planning import Inspection

_MAX_NAME_BYTES = 200
_TEMPLATE = "-- {title}\n\n"


def make_next_file(base: str | os.PathLike[str], settings: Settings, title: str) -> str:
    """Make a file with the next free number, in the form of the names that are there, and return its path.

    In a folder that is numbered by dates, the number is the current one where that is higher than all others.
    """
    folder = Path(settings.migrations_dir or default_path(base))
    words = re.sub(r"[^\w]+", "_", title.removesuffix(".sql").strip().lower()).strip("_")
    if not words:
        raise UsageError(f'"{title}" has no letters to make a name of', fix='say what it does: new "add orders"')
    if len(words.encode()) > _MAX_NAME_BYTES:
        raise UsageError("the name is too long for a file", fix=f"use at most {_MAX_NAME_BYTES} bytes")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = [name for name in os.listdir(folder) if is_migration(name)]
        names += [path.name for path in folder.glob("env/*/*.sql") if is_migration(path.name)]
        path = folder / numbered_name(_next_number(names), f"{words}.sql", names)
        with path.open("x", encoding="utf-8") as file:
            file.write(_TEMPLATE.format(title=" ".join(title.split())))
    except OSError as error:
        raise UnreadableFile(
            f"no file can be made in {folder} ({error.strerror})",
            fix="give the user who runs this permission to write there, or name another folder: --migrations",
        ) from error
    return os.path.relpath(path)


def _next_number(names: Sequence[str]) -> str:
    """Return the number after those that there are, and those that unnumbered files will be given."""
    unnumbered = sum(number_of(name) is None for name in names)
    number = free_numbers(names, [], unnumbered + 1)[-1]
    today = on_date(number, datetime.now().astimezone())
    return max(number, today, key=parse_number)


def number_files(context: RunContext) -> list[str]:
    """Rename unnumbered files to carry a number, their companion files with them; return what was done.

    They get the numbers that the history has given, or the plan would give, unless another file has that number or a
    new database would then apply the files in another order. Without a database the order follows from the folder.
    """
    folder = context.read_folder()
    _refuse_foreign(folder)
    order, inspection = _order(context, folder)
    others = [name for name in folder.skipped if not name.startswith(REPEATABLE)]
    names = [*(file.name for file in folder.files), *others]
    renamed = {name: _with_number(name, number, names) for name, number in numbers_in_order(order, others).items()}
    if inspection is not None:
        _refuse_losses(folder, renamed, dict(order), inspection)
    moves = [move for file in folder.files if file.name in renamed for move in _moves(file, renamed[file.name])]
    for old, new in moves:
        if new.exists() or new.is_symlink():
            raise FileInTheWay(f"{new.name} exists", fix=f"rename {old.name} or {new.name} by hand")
    for old, new in moves:
        try:
            old.rename(new)
        except OSError as error:
            raise UnreadableFile(
                f"{old.name} cannot be renamed ({error.strerror})",
                fix="give the user who runs this permission to write to its folder",
            ) from error
    return [f"{old.name} -> {new.name}" for old, new in moves]


def _refuse_foreign(folder: Folder) -> None:
    """Raise NotForward or MisplacedFile for an unnumbered file whose name says so, since a number would hide that."""
    from migrator.files.foreign import foreign_name  # noqa: PLC0415 - for folders that have such files

    files = {file.name: file for file in folder.files}
    for file in folder.suspects:
        if file.number is None and (error := foreign_name(file, files)):
            raise error


def _order(context: RunContext, folder: Folder) -> tuple[list[tuple[str, str]], Inspection | None]:
    """Return the files in the order in which this database applies them, each with the number it is given there."""
    try:
        with closing(context.connect()) as connection:
            from migrator.planning import inspect, match  # noqa: PLC0415 - like the driver, for those with a database

            inspection = inspect(context, folder, connection)
    except NoDatabase:
        by_number = sorted(folder.files, key=lambda file: (file.number is None, file.number or (), file.name))
        return [(file.name, "") for file in by_number], None
    here = {row.name: name for name, row in match(folder.files, inspection.applied, folder.others).rows.items()}
    order = {here[row.name]: row.number for row in inspection.applied if row.name in here}
    for item in (*inspection.plan.pending, *inspection.plan.held_back):
        if item.number:  # repeatable files have none
            order.setdefault(item.migration.name, item.number)
    return list(order.items()), inspection


def _with_number(name: str, number: str, names: Sequence[str]) -> str:
    folder, slash, own = name.rpartition("/")
    return f"{folder}{slash}{numbered_name(number, own, names)}"


def _refuse_losses(folder: Folder, renamed: dict[str, str], given: dict[str, str], inspection: Inspection) -> None:
    """Raise InconsistentHistory where the history could not follow a renamed file."""
    from migrator.planning import match  # noqa: PLC0415 - as above

    rows = match(folder.files, inspection.applied, folder.others).rows
    files = [file._replace(name=renamed.get(file.name, file.name)) for file in folder.files]
    after = match(files, inspection.applied, folder.others).rows
    for old, new in renamed.items():
        moved = inspection.imported and given[old] and number_of(new) != parse_number(given[old])
        if old in rows and (moved or after.get(new) != rows[old]):
            raise InconsistentHistory(
                f"the history could not follow {old} to the name {new}",
                fix="make status say up to date first: migrate what is pending, put an edited file back as it was",
            )


def _moves(file: Migration, name: str) -> list[tuple[Path, Path]]:
    """Return the paths of a file and its companions with those that they get."""
    path = Path(file.path)
    new = path.with_name(name.rpartition("/")[2])
    companions = ((file.down, down_name(new.name)), (file.check, check_name(new.name)))
    return [(path, new), *((Path(old), new.with_name(name)) for old, name in companions if old)]
