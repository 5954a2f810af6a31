"""Companion files: the down migration of a file (003_x.down.sql) and its check (003_x.check.sql)."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable
from typing import Any

from migrator.errors import DbSetupError, TextError, UnreadableFile, UnusableCheck
from migrator.files import Migration, check_name, checksum, down_name
from migrator.scripts.script import ENDS, MAX_KEPT, Script, place, read_script
from migrator.sql import Kind, first_code, read_text

MAX_STORED = 1 << 18
"""Bytes of a down migration that the history stores; a larger one is read from its file only."""
_NOT_IN_A_CHECK = ENDS | {Kind.BEGIN, Kind.SAVEPOINT, Kind.SET_TRANSACTION, Kind.COPY_IN, Kind.OUTSIDE}


def with_companions(script: Script, *, standard_strings: bool = True) -> Script:
    """Return a script with its down migration and its check, both read.

    A down migration that is not fit to be run is a warning, since nothing of a forward run depends on it. Raises
    TextError and its kinds, and UnreadableFile, with the place in the check.
    """
    added: dict[str, Any] = {}
    migration = script.migration
    if migration.down:
        added["down"], remark, added["unfit"] = _to_store(migration, standard_strings=standard_strings)
        added["warnings"] = (*script.warnings, remark) if remark else script.warnings
    if migration.check:
        check = companion(check_name(migration.name), migration.check)
        added["check"] = _refuse_transactions(read_script(check, keep=True, standard_strings=standard_strings))
    return script._replace(**added)


def _to_store(migration: Migration, *, standard_strings: bool = True) -> tuple[str | None, str, DbSetupError | None]:
    """Return the text of a down migration that the history stores, None for one that is too large or not fit to be run.

    With it comes what is to be said of that, and the error of one that is not fit.
    """
    try:
        down = companion(down_name(migration.name), migration.down)
        text = _storable(down)
        read_script(down, keep=False, text=text, standard_strings=standard_strings)
    except (TextError, UnreadableFile) as error:
        return None, _unfit(migration, error), error
    return text, _too_large(down) if text is None else "", None


def companion(name: str, path: str) -> Migration:
    """Return a companion file, its text not read yet; raises UnreadableFile."""
    try:
        return Migration(name, path, "", os.stat(path).st_size)
    except OSError as error:
        raise UnreadableFile(
            f"{name} cannot be read ({error.strerror})", fix="give the user who runs this read permission"
        ) from error


def down_texts(
    files: Iterable[Migration], names: Container[str], warn: Callable[[str], object]
) -> dict[str, str]:  # fmt: skip
    """Return the down migrations that the history stores of the migrations with some names, by these.

    A migration has none there whose down migration is too large to be stored, or not fit to be run: ``warn`` is told.
    """
    found = {}
    for file in files:
        if file.down and file.name in names:
            text, remark, _ = _to_store(file)
            if text is not None:
                found[file.name] = text
            elif remark:
                warn(remark)
    return found


def _storable(down: Migration) -> str | None:
    return "".join(read_text(down.name, down.path, down.size)) if down.size <= MAX_STORED else None


def read_down(name: str, path: str, *, standard_strings: bool = True) -> Script:
    """Read a down migration from its file."""
    found = companion(name, path)
    return read_script(found, keep=found.size <= MAX_KEPT, standard_strings=standard_strings)


def stored_down(name: str, text: str, *, standard_strings: bool = True) -> Script:
    """Read a down migration from the text that the history has of it."""
    return read_script(Migration(name, "", "", len(text)), keep=True, text=text, standard_strings=standard_strings)


def differs(down: Script, text: str) -> bool:
    """Return whether a down migration is another now than the text stored, whatever its encoding and line ends."""
    now = _storable(down.migration) if down.text is None else down.text
    return now is None or checksum(now.encode()) != checksum(text.encode())


def _refuse_transactions(check: Script) -> Script:
    """Return a check that leaves the transaction alone; raises UnusableCheck where one does not."""
    for statement in check.read():
        if statement.kind in _NOT_IN_A_CHECK:
            raise UnusableCheck(
                "this statement has no place in a check",
                where=place(statement, first_code(statement.text), check.migration.name),
                fix="write queries; they are run inside the transaction of the migration",
            )
    return check


def _unfit(migration: Migration, error: DbSetupError) -> str:
    return (
        f"{error.cause}: this down migration is not stored in the history; {migration.name} can be rolled back only "
        "once that is mended, and by a package that has the file"
    )


def _too_large(down: Migration) -> str:
    return (
        f"{down.name} is larger than {MAX_STORED >> 10} KiB, and so not stored in the history: "
        "only a package that has the file can roll back"
    )
