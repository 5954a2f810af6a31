"""Reconciliation: read what is missing, run it, and read again, until nothing is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from psycopg2 import errorcodes

from migrator.database import SAFE_PATH_SQL, TRANSIENT, Connection, Deadline
from migrator.errors import ServerError
from migrator.formatting import cut

if TYPE_CHECKING:
    from typing import TypeVar

    _Result = TypeVar("_Result")

# Roles belong to the whole server, and the runs of other databases change them at the same time.
_CONFLICTS = TRANSIENT | {
    errorcodes.INTERNAL_ERROR,  # "tuple concurrently updated": another session has just changed the catalog row
    errorcodes.UNIQUE_VIOLATION, errorcodes.DUPLICATE_OBJECT,  # created since the catalog was read, or ...
    errorcodes.UNDEFINED_OBJECT, errorcodes.UNDEFINED_TABLE, errorcodes.UNDEFINED_FUNCTION,  # dropped
    errorcodes.INVALID_SCHEMA_NAME,
}  # fmt: skip
SAFELY = f"{SAFE_PATH_SQL}; "
"""Goes before a query, so that it never calls a function or operator that a table creator has made."""

_ATTEMPTS, _ROUNDS = 12, 8
_FIX = "let the user who runs this own the database, or be a member of the owner, with CREATEROLE"
_MOST_SHOWN = 300  # bytes
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5  # seconds


def reconcile(connection: Connection, deadline: Deadline, read_missing: Callable[[], Sequence[str]]) -> int:
    """Run the messages that ``read_missing`` returns, each a transaction of its own, until it returns none.

    Returns how many were run. Raises ServerError when a message is refused for good.
    """
    done = 0
    for _ in range(_ROUNDS):
        messages = retry_on_conflict(deadline, lambda: _run(connection, read_missing()))
        if not messages:
            return done
        done += len(messages)
    what = f"the server ignored: {cut(messages[0], _MOST_SHOWN)}"
    raise ServerError(errorcodes.PRIVILEGE_NOT_GRANTED, what, fix=_FIX)


def _run(connection: Connection, messages: Sequence[str]) -> Sequence[str]:
    for message in messages:
        try:
            connection.run(message)
        except ServerError as error:
            what = f"{error.what}; the statement was: {cut(message, _MOST_SHOWN)}"
            conflict = error.sqlstate in _CONFLICTS
            fix = "other sessions are changing the same roles or objects: run it again" if conflict else _FIX
            raise error.replace(what=what, fix=fix) from error.__cause__
    return messages


def retry_on_conflict(deadline: Deadline, work: Callable[[], _Result]) -> _Result:
    """Return what ``work`` returns; retry it when another session has changed the same rows of the catalog."""
    pause = _FIRST_PAUSE
    for _ in range(_ATTEMPTS):
        try:
            return work()
        except ServerError as error:
            deadline.check()
            if error.sqlstate not in _CONFLICTS or not deadline.pause(pause):
                raise
            pause = min(pause * 2, _LONGEST_PAUSE)
    return work()
