"""Reconnect: work that a lost connection does not end, since the history says how far it has come."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from migrator.actions.apply_pending import RECONNECTIONS, server_is_back
from migrator.connection import Connection
from migrator.errors import ConnectionLost
from migrator.job import Job
from migrator.report import Report


def on_connections(job: Job, work: Callable[[Connection], Report]) -> Report:
    """Do the work on one connection after another until it ends; raises ConnectionLost when there is no other."""
    for attempt in range(RECONNECTIONS + 1):
        try:
            with closing(job.connect()) as connection:
                return work(connection)
        except ConnectionLost:
            if attempt == RECONNECTIONS or not server_is_back(job):
                raise
    raise AssertionError("the last attempt returns or raises")
