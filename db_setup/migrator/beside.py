"""What stands beside a migration: its way back (003_x.down.sql) and its check (003_x.check.sql)."""

from __future__ import annotations

from migrator.errors import TextError
from migrator.folder import read_migration
from migrator.light import Any
from migrator.migration import CHECK_SUFFIX, DOWN_SUFFIX, Migration, beside, checksum
from migrator.script import ENDS, Script, place, read_script
from migrator.statements import Kind, first_code
from migrator.text import read_text

MAX_STORED = 1 << 18
"""Bytes of a way back that the history keeps; a larger one is read from its file only."""
_KEPT = 1 << 16  # bytes
_NOT_IN_A_CHECK = ENDS | {Kind.BEGIN, Kind.SAVEPOINT, Kind.SET_TRANSACTION, Kind.COPY_IN, Kind.OUTSIDE}


class UnusableCheck(TextError):
    """A check with a statement that is no question, such as COMMIT."""

    code = "unusable_check"


def with_what_is_beside(script: Script) -> Script:
    """Return a script with its way back and its check, both read and found fit to be run.

    Raises TextError and its kinds with the place in the file beside.
    """
    added: dict[str, Any] = {}
    name = script.migration.name
    if script.migration.down:
        down = read_beside(beside(name, DOWN_SUFFIX), script.migration.down)
        read_script(down, keep=False)
        added["down"] = text_to_store(script.migration)
        if added["down"] is None:
            added["warnings"] = (*script.warnings, _too_large(down))
    if script.migration.check:
        check = read_beside(beside(name, CHECK_SUFFIX), script.migration.check)
        added["check"] = _refuse_transactions(read_script(check, keep=True))
    return script._replace(**added)


def text_to_store(migration: Migration) -> str | None:
    """Return the text of a migration's way back, None where it has none, or one too large to be stored."""
    if not migration.down:
        return None
    down = read_beside(beside(migration.name, DOWN_SUFFIX), migration.down)
    return "".join(read_text(down)) if down.size <= MAX_STORED else None


def read_beside(name: str, path: str) -> Migration:
    """Read a file beside a migration; raises UnreadableFile."""
    return read_migration(name, path)


def read_way_back(name: str, path: str) -> Script:
    """Read a way back from its file."""
    found = read_beside(name, path)
    return read_script(found, keep=found.size <= _KEPT)


def stored_way_back(name: str, text: str) -> Script:
    """Read a way back from the text that the history has of it."""
    return read_script(Migration(name, "", "", len(text)), keep=True, text=text)


def differs(down: Migration, text: str) -> bool:
    """Tell whether a way back is another now than the text that was stored, whatever its encoding and line ends."""
    if down.size > MAX_STORED:
        return True
    return checksum("".join(read_text(down)).encode()) != checksum(text.encode())


def _refuse_transactions(check: Script) -> Script:
    """Return a check that leaves the transaction alone; raises UnusableCheck where one does not."""
    for statement in check.read():
        if statement.kind in _NOT_IN_A_CHECK:
            raise UnusableCheck(
                "this statement has no place in a check",
                where=place(statement, first_code(statement.text))._replace(file=check.migration.name),
                cure="write queries; they are asked inside the transaction of the migration",
            )
    return check


def _too_large(down: Migration) -> str:
    return (
        f"{down.name} is larger than {MAX_STORED >> 10} KiB, and so not stored in the history: "
        "only a package that has the file can roll back"
    )
