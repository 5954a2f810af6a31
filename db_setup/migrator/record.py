"""The record: the statement by which a migration stands in the history, inside the migration's own transaction."""

from __future__ import annotations

from migrator.connection import Connection
from migrator.history import PACKAGE_VERSION
from migrator.history_tables import SCHEMA
from migrator.lock import HELD_SQL
from migrator.migration import REPEATABLE, AppliedMigration


def record_sql(
    connection: Connection, row: AppliedMigration, mode: str, run_id: int, down: str | None = None
) -> str:
    """Return the statement that records a migration, and its way back, inside its own transaction.

    It is also the fence: it fails on ``state`` when another runner has the run lock, and on ``name`` when
    another has recorded the file; either way nothing of the transaction is kept.
    """
    name, number, checksum, state = map(connection.literal, row[:4])
    again = f"{forget_sql(name)}; " if row.name.startswith(REPEATABLE) else ""
    return (
        f"{again}INSERT INTO {SCHEMA}.history (name, number, checksum, state, mode, run_id, package_version, down_sql) "
        f"VALUES ({name}, {number}, {checksum}, CASE WHEN {HELD_SQL} THEN {state} END, "
        f"'{mode}', {run_id}, '{PACKAGE_VERSION}', {text_literal(down)})"
    )


def forget_sql(name: str) -> str:
    """Return the statement that makes room for a repeatable file's next record; ``name`` is a literal."""
    return f"DELETE FROM {SCHEMA}.history WHERE name OPERATOR(pg_catalog.=) {name}"


def text_literal(text: str | None) -> str:
    """Return a long text as a literal that means the same whatever the file at hand does to backslashes."""
    if text is None:
        return "NULL"
    doubled = text.replace("'", "''")
    return f"'{doubled}'" if "\\" not in doubled else "E'" + doubled.replace("\\", "\\\\") + "'"
