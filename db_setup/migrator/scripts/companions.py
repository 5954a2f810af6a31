"""What stands beside a migration: its way back (003_x.down.sql) and its check (003_x.check.sql)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from migrator.errors import UnusableCheck
from migrator.files.folder import read_migration
from migrator.files.migration import CHECK_SUFFIX, DOWN_SUFFIX, Migration, checksum, companion_name
from migrator.scripts.script import ENDS, Script, place, read_script
from migrator.sql.classify import Kind, first_code
from migrator.sql.decode import read_text

MAX_STORED = 1 << 18
"""Bytes of a way back that the history keeps; a larger one is read from its file only."""
_KEPT = 1 << 16  # bytes
_NOT_IN_A_CHECK = ENDS | {Kind.BEGIN, Kind.SAVEPOINT, Kind.SET_TRANSACTION, Kind.COPY_IN, Kind.OUTSIDE}


def with_companions(script: Script) -> Script:
    """Return a script with its way back and its check, both read and found fit to be run.

    Raises TextError and its kinds with the place in the file beside.
    """
    added: dict[str, Any] = {}
    name = script.migration.name
    if script.migration.down:
        down = read_companion(companion_name(name, DOWN_SUFFIX), script.migration.down)
        read_script(down, keep=False)
        added["down"] = text_to_store(script.migration)
        if added["down"] is None:
            added["warnings"] = (*script.warnings, _too_large(down))
    if script.migration.check:
        check = read_companion(companion_name(name, CHECK_SUFFIX), script.migration.check)
        added["check"] = _refuse_transactions(read_script(check, keep=True))
    return script._replace(**added)


def text_to_store(migration: Migration) -> str | None:
    """Return the text of a migration's way back, None where it has none, or one too large to be stored."""
    if not migration.down:
        return None
    down = read_companion(companion_name(migration.name, DOWN_SUFFIX), migration.down)
    return "".join(read_text(down.name, down.path, down.size)) if down.size <= MAX_STORED else None


def read_companion(name: str, path: str) -> Migration:
    """Read a file beside a migration; raises UnreadableFile."""
    return read_migration(name, path)


def read_down(name: str, path: str) -> Script:
    """Read a way back from its file."""
    found = read_companion(name, path)
    return read_script(found, keep=found.size <= _KEPT)


def stored_down(name: str, text: str) -> Script:
    """Read a way back from the text that the history has of it."""
    return read_script(Migration(name, "", "", len(text)), keep=True, text=text)


def differs(down: Migration, text: str) -> bool:
    """Tell whether a way back is another now than the text that was stored, whatever its encoding and line ends."""
    if down.size > MAX_STORED:
        return True
    return checksum("".join(read_text(down.name, down.path, down.size)).encode()) != checksum(text.encode())


def _refuse_transactions(check: Script) -> Script:
    """Return a check that leaves the transaction alone; raises UnusableCheck where one does not."""
    for statement in check.read():
        if statement.kind in _NOT_IN_A_CHECK:
            raise UnusableCheck(
                "this statement has no place in a check",
                where=place(statement, first_code(statement.text))._replace(file=check.migration.name),
                fix="write queries; they are asked inside the transaction of the migration",
            )
    return check


def _too_large(down: Migration) -> str:
    return (
        f"{down.name} is larger than {MAX_STORED >> 10} KiB, and so not stored in the history: "
        "only a package that has the file can roll back"
    )


_KEPT_FILE = 1 << 16  # bytes; larger files are read again when they run
_KEPT_ALL = 1 << 24


def read_scripts(migrations: Iterable[Migration]) -> list[Script]:
    """Read pending files, so that what can be refused is refused before anything is touched."""
    room = _KEPT_ALL
    scripts = []
    for migration in migrations:
        keep = migration.size <= min(_KEPT_FILE, room)
        room -= migration.size if keep else 0
        script = read_script(migration, keep=keep)
        if migration.down or migration.check:
            script = with_companions(script)
        scripts.append(script)
    return scripts
