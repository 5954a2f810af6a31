"""Reconnect: work that a lost connection does not end, since the history says how far it has come."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from migrator.context import RunContext
from migrator.database.connection import Connection
from migrator.errors import ConnectionLost, ServerUnfit
from migrator.report import Report


def retry_on_lost_connection(context: RunContext, work: Callable[[Connection], Report]) -> Report:
    """Do the work on one connection after another until it ends; raises ConnectionLost when there is no other."""
    for attempt in range(RECONNECTIONS + 1):
        try:
            with closing(context.connect()) as connection:
                return work(connection)
        except ConnectionLost:
            if attempt == RECONNECTIONS or not server_is_back(context):
                raise
    raise AssertionError("the last attempt returns or raises")


RECONNECTIONS = 5
_RECONNECT_PAUSE = 0.5  # seconds, growing


def server_is_back(context: RunContext) -> bool:
    """Wait until a connection can be made, as long as the context may wait."""
    context.deadline.check()
    pause = _RECONNECT_PAUSE
    while context.deadline.pause(pause):
        try:
            context.connect().close()
        except ServerUnfit:
            pause *= 2
        else:
            return True
    return False
