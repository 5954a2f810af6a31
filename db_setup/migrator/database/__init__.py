"""database: one session with the server, from the credentials it is opened with to the meaning of its errors.

A session is on a primary server that accepts writes, with its own settings and a deadline; the driver's errors end
here, and no password is in ours. Imports settings, errors and formatting. psycopg2 is loaded by ``connect`` and its
like, boto3 by ``secrets_manager``, each where it is first asked for: a command line that only reads files has neither.
"""

from typing import TYPE_CHECKING

from migrator.database import credentials
from migrator.database.credentials import Credentials
from migrator.database.deadline import Deadline, time_is_over

if TYPE_CHECKING:
    from migrator.database import secrets_manager
    from migrator.database.connection import SAFE_PATH_SQL, Connection, Row, connect
    from migrator.database.server_errors import TRANSIENT, lock_lost, migration_error

__all__ = [
    "SAFE_PATH_SQL",
    "TRANSIENT",
    "Connection",
    "Credentials",
    "Deadline",
    "Row",
    "connect",
    "credentials",
    "lock_lost",
    "migration_error",
    "secrets_manager",
    "time_is_over",
]


def __getattr__(name: str) -> object:
    """Import what needs psycopg2 when it is first asked for."""
    if name in {"Connection", "Row", "SAFE_PATH_SQL", "connect"}:
        from migrator.database import connection  # noqa: PLC0415

        return getattr(connection, name)
    if name in {"TRANSIENT", "lock_lost", "migration_error"}:
        from migrator.database import server_errors  # noqa: PLC0415

        return getattr(server_errors, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
