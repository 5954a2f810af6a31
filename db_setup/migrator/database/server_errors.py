"""Server errors: a statement of a migration that the server refused, as a developer needs to read it."""

from __future__ import annotations

import re

from psycopg2 import errorcodes

from migrator.errors import LockTimeout, MigrationFailed, MissingExtension, ObjectExists, RunLockLost, ServerError
from migrator.formatting import mask_passwords

TRANSIENT = frozenset({
    errorcodes.LOCK_NOT_AVAILABLE, errorcodes.SERIALIZATION_FAILURE, errorcodes.DEADLOCK_DETECTED,
    errorcodes.OBJECT_IN_USE,
})  # fmt: skip
"""States that another attempt may not meet."""

_EXISTS = frozenset({
    errorcodes.DUPLICATE_TABLE, errorcodes.DUPLICATE_OBJECT, errorcodes.DUPLICATE_SCHEMA,
    errorcodes.DUPLICATE_COLUMN, errorcodes.DUPLICATE_FUNCTION, errorcodes.DUPLICATE_DATABASE,
})  # fmt: skip
_EXTENSION = re.compile(r'extension "([^"]+)" is not available|extension/([^/"]+)\.control')
_MAX_DETAIL = 300

_FIXES = {
    errorcodes.SYNTAX_ERROR: "correct the statement and run again",
    errorcodes.UNDEFINED_TABLE:
        "check the spelling and the schema, and that the file which makes it has a lower number",
    errorcodes.UNDEFINED_COLUMN: "check the spelling of the column",
    errorcodes.INSUFFICIENT_PRIVILEGE: "run as the owner, or let the owner GRANT what is missing",
    errorcodes.UNIQUE_VIOLATION:
        "two rows have one key: where this file adds them, give each its own, or write ON CONFLICT DO NOTHING; where "
        "the table has them, make them differ with an UPDATE before this statement",
    errorcodes.NOT_NULL_VIOLATION: "fill the missing values in a statement before this one, then run again",
    errorcodes.FOREIGN_KEY_VIOLATION:
        "in a statement before this one, add the rows that are referred to, or have those that refer to them refer to "
        "others",
    errorcodes.CHECK_VIOLATION:
        "correct the rows that break the rule in a statement before this one; or add the constraint NOT VALID, which "
        "leaves them unchecked",
    errorcodes.DISK_FULL: "the server's disk is full: enlarge the storage, then run again",
    errorcodes.OUT_OF_MEMORY: "the server is out of memory: raise max_locks_per_transaction, or split the file",
    errorcodes.ACTIVE_SQL_TRANSACTION:
        "this statement cannot run in a transaction block: take it out of BEGIN ... COMMIT or DO",
    errorcodes.UNSAFE_NEW_ENUM_VALUE_USAGE: "commit the new enum value first: put it into a file of its own",
    **dict.fromkeys(
        (
            errorcodes.CONNECTION_EXCEPTION, errorcodes.CONNECTION_DOES_NOT_EXIST, errorcodes.CONNECTION_FAILURE,
            errorcodes.SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
        ),
        "this statement connects the database server to another one: see that it can be reached from there, and run "
        "again",
    ),
    errorcodes.LOCK_NOT_AVAILABLE: "end what holds the lock, or run again at a quieter time",
    **dict.fromkeys(_EXISTS, "give it another name; or, if what is there is the same, write IF NOT EXISTS"),
    errorcodes.DUPLICATE_FUNCTION:
        "give it another name; or, if what is there is an earlier version of it, write OR REPLACE",
}  # fmt: skip
_FIX = "correct the file and run again"
_FIX_UNTRACKED = (
    "this database has tables but no history: adopt shows which files are applied already; "
    "or, if what is there is the same, write IF NOT EXISTS in this file"
)
_DESTROYS = re.compile(r"\b(?:drop|dropping|truncate|delete|remove|cascade)\b", re.IGNORECASE)
_INSTEAD = {
    errorcodes.DEPENDENT_OBJECTS_STILL_EXIST:
        "in statements before this one, change what depends on it, as the detail names it, so that it does without; "
        "or leave it where it is",
    errorcodes.INVALID_FUNCTION_DEFINITION:
        "give the new function another name; or rename the old one first, so that what uses it keeps it: ALTER "
        "FUNCTION ... RENAME TO",
    errorcodes.FEATURE_NOT_SUPPORTED:
        "rows of the other table refer to these: have them refer to others first, or leave both as they are",
}  # fmt: skip
"""What to do where the server's hint would have people destroy what they have: DROP ... CASCADE and the like."""


def migration_error(error: ServerError, file_name: str, untracked: bool) -> MigrationFailed:
    """Return the error to show for a statement that the server refused.

    ``untracked`` says that the database has tables but no history of ours.
    """
    where = error.where._replace(file=error.where.file or file_name) if error.where else None
    kind, fix = _kind_and_fix(error, untracked)
    hint = mask_passwords(error.hint)
    if _DESTROYS.search(hint):
        hint, fix = "", fix or _INSTEAD.get(error.sqlstate, "")
    what = ("" if where else f"{file_name}: ") + _what(error, hint if fix else "")
    return kind(what, where=where, fix=fix or hint or _FIX, sqlstate=error.sqlstate)


def lock_lost(file_name: str) -> RunLockLost:
    """Return the error for a migration whose record another runner's lock has refused."""
    return RunLockLost(
        f"{file_name}: the run lock was lost to another runner; what was in progress was rolled back",
        fix="run it again; files must not call pg_advisory_unlock_all or DISCARD ALL",
    )


def _kind_and_fix(error: ServerError, untracked: bool) -> tuple[type[MigrationFailed], str]:
    """Return the class of the error to show, and a fix if there is a better one than the server's hint."""
    if missing := _EXTENSION.search(error.message):
        return MissingExtension, _extension_fix(missing[1] or missing[2])
    fix = _FIXES.get(error.sqlstate, "")
    if error.sqlstate in _EXISTS:
        return ObjectExists, _FIX_UNTRACKED if untracked else fix
    return LockTimeout if error.sqlstate == errorcodes.LOCK_NOT_AVAILABLE else MigrationFailed, fix


def _what(error: ServerError, hint: str) -> str:
    remarks = (("detail", error.detail), ("hint", hint))
    return mask_passwords(error.what + "".join(f"; {label}: {text[:_MAX_DETAIL]}" for label, text in remarks if text))


def _extension_fix(name: str) -> str:
    return (
        f'use a server that has "{name}": PGBIN names the binaries of an installed PostgreSQL, DATABASE_URL any server '
        "(the embedded one has few extensions; gen_random_uuid() needs none)"
    )
