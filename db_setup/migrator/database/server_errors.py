"""A failure: what the server said of a migration, turned into what a developer needs to read. Pure."""

from __future__ import annotations

import re

from migrator.errors import LockTimeout, MigrationFailed, MissingExtension, ObjectExists, RunLockLost, ServerError
from migrator.formatting import mask_passwords

LOCK_NOT_AVAILABLE = "55P03"
QUERY_CANCELED = "57014"
TRANSIENT = frozenset({LOCK_NOT_AVAILABLE, "40001", "40P01", "55006"})
"""States that another attempt may not meet: locks, serialization, deadlocks, objects in use."""

_EXISTS = frozenset({"42P07", "42710", "42P06", "42701", "42723", "42P04"})
_EXTENSION = re.compile(r'extension "([^"]+)" is not available|extension/([^/"]+)\.control')
_MAX_DETAIL = 300

_FIXES = {
    "42601": "correct the statement and run again",
    "42P01": "check the spelling and the schema, and that the file which makes it has a lower number",
    "42703": "check the spelling of the column",
    "42501": "run as the owner, or let the owner GRANT what is missing",
    "23505": "remove the duplicates in a statement before this one, then run again",
    "23502": "fill the missing values in a statement before this one, then run again",
    "23503": "add the missing rows, or remove those that refer to them, in a statement before this one",
    "23514": "correct the rows that break the rule in a statement before this one",
    "53100": "the server's disk is full: enlarge the storage, then run again",
    "53200": "the server is out of memory: raise max_locks_per_transaction, or split the file",
    "25001": "this statement cannot run in a transaction block: take it out of BEGIN ... COMMIT or DO",
    "55P04": "commit the new enum value first: put it into a file of its own",
}


def migration_error(error: ServerError, file_name: str, *, untracked: bool = False) -> MigrationFailed:
    """Return the error to show for a statement that the server refused.

    ``untracked`` tells that the database has tables but no history of ours.
    """
    where = error.where._replace(file=error.where.file or file_name) if error.where else None
    hint_is_fix = bool(error.hint) and not _has_advice(error)
    what = ("" if where else f"{file_name}: ") + _what(error, with_hint=not hint_is_fix)
    if missing := _EXTENSION.search(error.message):
        name = missing[1] or missing[2]
        return MissingExtension(what, where=where, sqlstate=error.sqlstate, fix=_extension_fix(name))
    if error.sqlstate == LOCK_NOT_AVAILABLE:
        return LockTimeout(
            what, where=where, sqlstate=error.sqlstate, fix="end what holds the lock, or run again at a quieter time"
        )
    if error.sqlstate in _EXISTS:
        return ObjectExists(what, where=where, sqlstate=error.sqlstate, fix=_exists_fix(untracked))
    fix = _FIXES.get(error.sqlstate, mask_passwords(error.hint) or "correct the file and run again")
    return MigrationFailed(what, where=where, sqlstate=error.sqlstate, fix=fix)


def lock_lost(file_name: str) -> RunLockLost:
    """Return the error for a migration whose record another runner's lock has refused."""
    return RunLockLost(
        f"{file_name}: the run lock was lost to another runner; nothing of this file was kept",
        fix="run it again; files must not call pg_advisory_unlock_all or DISCARD ALL",
    )


def _has_advice(error: ServerError) -> bool:
    """Tell whether the fix is ours, and not the hint of the server, which would be told twice."""
    known = error.sqlstate in _FIXES or error.sqlstate in _EXISTS or error.sqlstate == LOCK_NOT_AVAILABLE
    return known or _EXTENSION.search(error.message) is not None


def _what(error: ServerError, *, with_hint: bool) -> str:
    parts = [f"{error.message} ({error.sqlstate})"]
    remarks = (("detail", error.detail), ("hint", error.hint if with_hint else ""))
    parts += [f"{label}: {text[:_MAX_DETAIL]}" for label, text in remarks if text]
    return mask_passwords("; ".join(parts))


def _extension_fix(name: str) -> str:
    return (
        f'use a server that has "{name}": PGBIN names the binaries of an installed PostgreSQL, DATABASE_URL any server '
        "(the embedded one has few extensions; gen_random_uuid() needs none)"
    )


def _exists_fix(untracked: bool) -> str:
    if untracked:
        return (
            "this database has tables but no history: adopt shows which files are applied already; "
            "or write IF NOT EXISTS in this file, or remove from it what is there"
        )
    return "write IF NOT EXISTS or OR REPLACE, or remove the statement, or drop what is there"
