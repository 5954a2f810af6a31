"""What the tests ask of the database."""

from __future__ import annotations

from tests.plugins.databases import Database

AT_THE_GATE = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
"""Counts the migrations that wait for the gate."""
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'db_setup%' AND datname = current_database()"
"""Counts the sessions of runs."""


def history(database: Database) -> list[str]:
    """Return the names of the applied migrations, in order."""
    rows = database.query("SELECT name FROM db_setup.history WHERE state = 'applied' ORDER BY position")
    return [name for (name,) in rows]


def open_gate(database: Database) -> None:
    """Let the migration that waits go on."""
    database.execute("INSERT INTO gate VALUES (1)")


def invoices(database: Database) -> list[int] | None:
    """Return the rows that 003 makes; none where its table is not there."""
    if database.query("SELECT to_regclass('invoices')::text") == [(None,)]:
        return None
    return [number for (number,) in database.query("SELECT id FROM invoices ORDER BY id")]
