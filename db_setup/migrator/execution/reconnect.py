"""Reconnecting: work that a lost connection does not end, since the history says how far it has come."""

from __future__ import annotations

from collections.abc import Callable

from migrator.context import RunContext
from migrator.database import Connection
from migrator.errors import ConnectionLost, ServerUnfit
from migrator.report import Report

_RECONNECTIONS = 5
_FIRST_PAUSE = 0.5  # seconds, growing


def retry_on_lost_connection(
    context: RunContext, work: Callable[[Connection], Report], first: Connection | None = None
) -> Report:
    """Do the work on one connection after another until it ends, on the ``first`` if one is open already.

    Each is closed before the next is opened, or its session would keep the run lock. Raises ConnectionLost when there
    is no other.
    """
    connection = first or context.connect()
    for _ in range(_RECONNECTIONS):
        try:
            return work(connection)
        except ConnectionLost:
            connection.close()
            another = _reconnected(context)
            if another is None:
                raise
            connection = another
        finally:
            connection.close()
    try:
        return work(connection)
    finally:
        connection.close()


def _reconnected(context: RunContext) -> Connection | None:
    """Return a new connection, as soon as the server takes one, within the time of the run."""
    context.deadline.check()
    pause = _FIRST_PAUSE
    while context.deadline.pause(pause):
        try:
            return context.connect()
        except ServerUnfit:
            pause *= 2
    return None
