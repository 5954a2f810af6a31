"""TODO."""

from __future__ import annotations

from typing import NamedTuple

from migrator.database.connection import Connection
from migrator.errors import ServerError
from migrator.history.rows import AppliedMigration
from migrator.history.schema import _NO_PRIVILEGE, SCHEMA

_UNDEFINED_TABLE = "42P01"


class HistorySnapshot(NamedTuple):
    """What one look at a database tells: its history, and whether it has tables of anybody's."""

    applied: tuple[AppliedMigration, ...]
    exists: bool
    has_tables: bool
    first_generation: bool


def read(connection: Connection, *, dates: bool = False) -> HistorySnapshot:
    """Return what is applied, in the order of application; reads only, whatever it finds."""
    when = ", pg_catalog.to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI UTC')" if dates else ""
    try:
        rows = connection.rows(f"SELECT name, number, checksum, state{when} FROM {SCHEMA}.history ORDER BY position")
    except ServerError as error:
        if error.sqlstate == _NO_PRIVILEGE:
            raise _not_the_owner(connection) from error
        if error.sqlstate != _UNDEFINED_TABLE:
            raise
        rows, exists = [], False
    else:
        exists = True
    applied = tuple(AppliedMigration(*row) for row in rows)
    has_tables, first_generation = (True, False) if applied else _tables(connection)
    return HistorySnapshot(applied, exists, has_tables, first_generation)


def _not_the_owner(connection: Connection) -> ServerError:
    owner = connection.rows(
        f"SELECT pg_catalog.pg_get_userbyid(nspowner) FROM pg_catalog.pg_namespace WHERE nspname = '{SCHEMA}'"
    )[0][0]
    error = ServerError(_NO_PRIVILEGE, "this user may not read the history")
    error.fix = f'run with the credentials of "{owner}", who owns the schema {SCHEMA}'
    return error


def _tables(connection: Connection) -> tuple[bool, bool]:
    """Tell whether there are relations that no extension made, and whether one is the first generation's.

    Its table is believed only from the database's owner or from this user: a view, or a table of somebody else's, could
    say anything, and run anything.
    """
    query = f"""
        SELECT pg_catalog.count(*) > 0, pg_catalog.bool_or(
            n.nspname = 'public' AND c.relname = 'schema_migrations' AND c.relkind IN ('r', 'p')
            AND c.relowner IN (d.datdba, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = SESSION_USER)) AND 2 = (
                SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = c.oid AND a.attname IN ('id', 'migration_name')))
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
        WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v')
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', '{SCHEMA}')
          AND n.nspname !~ '^pg_(toast|temp)'
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                          WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    """
    has_tables, first_generation = connection.rows(query)[0]
    return bool(has_tables), bool(first_generation)
