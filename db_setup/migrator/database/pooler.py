"""Poolers: what stands between this client and the server, where the server's session is not the one it was told.

A pooler tells its clients a backend key of its own, in every mode. In session mode the server's session is a client's
until that leaves; in transaction mode it is the next one's after each transaction; in statement mode there are no
transactions.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from migrator.errors import ConnectionLost, ServerError, UnsuitablePooler

if TYPE_CHECKING:
    from migrator.database.connection import Connection
    from migrator.database.deadline import Deadline

PID = "SELECT pg_catalog.pg_backend_pid()"
_ROUNDS = 3


def shares_sessions(connection: Connection, other: Connection, patience: Deadline) -> bool:
    """Return whether a pooler is seen to hand the session of one connection to another one.

    The other one opens a transaction: a pooler in transaction mode gives it the session that is free, which the first
    one has used last, or the first one gets another session meanwhile. Where all sessions are taken, the other one
    waits until its ``patience`` is over, and this one keeps its own: that is seen of session mode only. Raises
    UnsuitablePooler where a transaction is refused.
    """
    with closing(other):
        for _ in range(_ROUNDS):
            try:
                theirs = other.rows(f"BEGIN; {PID}")[0][0]
            except (ConnectionLost, ServerError) as error:
                if patience.remaining() > 0:
                    raise no_transactions() from error
                return bool(connection.rows(PID)[0][0] != connection.pid)
            if theirs == connection.pid or connection.rows(PID)[0][0] != connection.pid:
                return True
            other.rollback()
    return False


def no_transactions() -> UnsuitablePooler:
    """Return the error for a pooler in statement mode."""
    return UnsuitablePooler(
        "a pooler in statement mode stands between this runner and the server: no transaction is possible",
        fix="connect to the database itself, or to a pool in session mode",
    )


def needs_session(what: str) -> UnsuitablePooler:
    """Return the error for what is not done behind a pooler in transaction mode."""
    return UnsuitablePooler(
        f"a pooler in transaction mode stands between this runner and the server, and {what} needs one session",
        fix="connect to the database itself, or to a pool in session mode; nothing but migrate with files that each "
        "run in one transaction, plan, status and history works in transaction mode",
        applied="nothing was run",
    )
