"""Why the tables of the history cannot be made or written, and what puts that right."""

from __future__ import annotations

from psycopg2 import errorcodes

from migrator.database import Connection
from migrator.errors import DbSetupError, HistoryLocked, ServerError
from migrator.formatting import quoted
from migrator.history.rows import SCHEMA


def locked(remedy: str) -> HistoryLocked:
    """Return the error for tables with a trigger, a rule or row security; ``remedy`` is the SQL that undoes it."""
    return HistoryLocked(
        f"somebody has put a trigger, a rule or row security on the tables of {SCHEMA}, with which they cannot be "
        "written as they must be",
        fix=f"as their owner: {remedy}; and see that no file does it again",
        applied="nothing was run",
    )


def creation_refused(connection: Connection, error: ServerError) -> DbSetupError:
    """Return the error of a user who may not create the schema or a table in it; any other as it is."""
    if error.sqlstate != errorcodes.INSUFFICIENT_PRIVILEGE:
        return error
    connection.rollback()  # of a rehearsal, which would answer nothing any more
    database, user, owner = connection.rows(
        "SELECT pg_catalog.current_database(), SESSION_USER, (SELECT pg_catalog.pg_get_userbyid(nspowner) "
        f"FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) '{SCHEMA}')"
    )[0]
    if owner is not None:
        return error.replace(fix=f"run once with the credentials of {quoted(owner)}, who owns the schema {SCHEMA}")
    return error.replace(fix=f"as the database's owner: GRANT CREATE ON DATABASE {quoted(database)} TO {quoted(user)}")
