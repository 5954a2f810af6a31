"""Poolers: what stands between this client and the server, where the server's session is not the one it was told.

A pooler tells its clients a backend key of its own, in every mode. In session mode the server's session is a client's
until that leaves; in transaction mode it is the next one's after each transaction; in statement mode there are no
transactions.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from migrator.errors import ConnectionLost, ServerError, UnsuitablePooler

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.database.connection import Connection
    from migrator.database.deadline import Deadline

PID = "SELECT pg_catalog.pg_backend_pid()"
_MOST = 20  # sessions, as many as PgBouncer has for a user and a database by default


def shares_sessions(connection: Connection, open_another: Callable[[], Connection], patience: Deadline) -> bool:
    """Return whether a pooler may hand the session of a connection to others, as it does in transaction mode.

    The session is marked by its last query, and others are opened, each in a transaction. In transaction mode the
    marked one is free: one of the others gets it, or somebody else leaves another query in it. Where the pooler makes a
    new session although nobody has touched the marked one, or all are taken until the ``patience`` is over, it was not
    free: that is seen of session mode only. What is not seen within some sessions counts as transaction mode. Raises
    UnsuitablePooler where a transaction is refused.
    """
    mark = f"/* {connection.token} */"
    marked, since = connection.rows(f"SELECT pg_catalog.pg_backend_pid(), pg_catalog.clock_timestamp()::text {mark}")[0]
    if marked != connection.pid:
        return True
    query = (
        f"BEGIN; SELECT pid, backend_start OPERATOR(pg_catalog.>) '{since}'::pg_catalog.timestamptz, "
        f"(SELECT pg_catalog.strpos(query, '{connection.token}') OPERATOR(pg_catalog.>) 0 "
        f"FROM pg_catalog.pg_stat_get_activity({marked})) "
        "FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())"
    )
    with ExitStack() as others:
        for _ in range(_MOST):
            other = others.enter_context(closing(open_another()))
            try:
                theirs, is_new, is_marked = other.rows(query)[0]
            except (ConnectionLost, ServerError) as error:
                if patience.remaining() > 0:
                    raise no_transactions() from error
                break
            if theirs == marked or not is_marked:
                return True
            if is_new:
                break
        else:
            return True
        return bool(connection.rows(PID)[0][0] != marked)


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
