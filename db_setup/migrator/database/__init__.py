"""database: one session with the server, from the credentials it is opened with to the meaning of its errors.

A session is on a primary server that accepts writes, with its own settings and a deadline; the driver's errors end
here, and no password is in ours. May import settings and what is below it. psycopg2 is loaded by ``connect`` and its
like, boto3 by ``secrets_manager``, each when it is first used: a command line that only reads files has neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.database import credentials
from migrator.database.credentials import Credentials
from migrator.database.deadline import Deadline
from migrator.lazy import late

if TYPE_CHECKING:
    from migrator.database import secrets_manager
    from migrator.database.connection import SAFE_PATH_SQL, Connection, Readable, Row, connect
    from migrator.database.server_errors import TRANSIENT, lock_lost, migration_error
else:
    __getattr__ = late(
        __name__,
        {
            "SAFE_PATH_SQL": "connection",
            "TRANSIENT": "server_errors",
            "Connection": "connection",
            "Readable": "connection",
            "Row": "connection",
            "connect": "connection",
            "lock_lost": "server_errors",
            "migration_error": "server_errors",
        },
    )

__all__ = [
    "SAFE_PATH_SQL",
    "TRANSIENT",
    "Connection",
    "Credentials",
    "Deadline",
    "Readable",
    "Row",
    "connect",
    "credentials",
    "lock_lost",
    "migration_error",
    "secrets_manager",
]
