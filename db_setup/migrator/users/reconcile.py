"""Converging: ask what is missing, do it, and ask again, until nothing is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from migrator.database.connection import SAFE_PATH_SQL, Connection
from migrator.database.deadline import Deadline
from migrator.database.server_errors import TRANSIENT
from migrator.errors import ServerError
from migrator.formatting import cut

if TYPE_CHECKING:
    from typing import TypeVar

    _Result = TypeVar("_Result")

# Roles belong to all databases of the server, and the runs of other databases work on them at the same time: catalog
# rows that another session has just changed (XX000), and names that came or went since the look.
_CONFLICTS = TRANSIENT | {"XX000", "23505", "42710", "42704", "42P01", "42883", "3F000"}
SAFELY = f"{SAFE_PATH_SQL}; "
"""Goes before a query, so that no function or operator that a table creator has made is ever found by it."""

_ATTEMPTS, _ROUNDS = 12, 8
_FIX = "let the user who runs this own the database, or be a member of the owner, with CREATEROLE"
_MOST_SHOWN = 300  # bytes
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5  # seconds


def reconcile(connection: Connection, deadline: Deadline, look: Callable[[], Sequence[str]]) -> int:
    """Run the messages that ``look`` returns, each a transaction of its own, until it returns none.

    Returns how many were run. Raises ServerError when a message is refused for good.
    """
    done = 0
    for _ in range(_ROUNDS):
        messages = retry_on_conflict(deadline, lambda: _run(connection, look()))
        if not messages:
            return done
        done += len(messages)
    refused = ServerError("01007", f"the server did nothing when it was asked for: {cut(messages[0], _MOST_SHOWN)}")
    refused.fix = _FIX
    raise refused


def _run(connection: Connection, messages: Sequence[str]) -> Sequence[str]:
    for message in messages:
        try:
            connection.run(message)
        except ServerError as error:
            error.what += f"; it was asked for: {cut(message, _MOST_SHOWN)}"
            busy = error.sqlstate in _CONFLICTS
            error.fix = "others are at work on the same roles or objects: run it again" if busy else _FIX
            raise
    return messages


def retry_on_conflict(deadline: Deadline, work: Callable[[], _Result]) -> _Result:
    """Return what some work returns; do it again when another session was at the same rows of the catalog."""
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
