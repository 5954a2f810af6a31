"""The run lock: one runner at a time on a database.

An advisory lock of the session, polled: a waiter blocked in pg_advisory_lock would make CREATE INDEX
CONCURRENTLY the deadlock victim, since it waits for every older transaction.
"""

from __future__ import annotations

from collections.abc import Callable

from migrator.database import Connection, Deadline
from migrator.errors import RunLockTimeout

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25  # seconds


class RunLock:
    """The run lock of a database, which its session holds until the session ends, or a file unlocks it."""

    KEY = "1684173925, 1952804208"  # "db_s", "etup"; advisory locks are per database

    HELD_SQL = f"pg_catalog.pg_try_advisory_xact_lock({KEY})"
    """True while nobody else has the run lock; keeps it to the end of the transaction, come what may."""

    @classmethod
    def acquire(cls, connection: Connection, deadline: Deadline, waiting: Callable[[str], None]) -> bool:
        """Take the run lock, polling within the deadline; ``waiting`` is called once with the holder.

        Returns whether it had to be waited for. Raises RunLockTimeout, which names the holder.
        """
        pause, waited = _FIRST_PAUSE, False
        while not connection.rows(f"SELECT pg_catalog.pg_try_advisory_lock({cls.KEY})")[0][0]:
            if not waited:
                waiting(cls._holder(connection))
            waited = True
            if not deadline.pause(pause):
                raise RunLockTimeout(
                    f"another runner has the run lock: {cls._holder(connection)}",
                    fix="wait until it has finished; if it is dead, its session ends by itself within seconds "
                    "(PostgreSQL 14+), or end it with SELECT pg_terminate_backend(PID)",
                )
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return waited

    @staticmethod
    def _holder(connection: Connection) -> str:
        """Return who has the run lock, for people."""
        class_id, object_id = RunLock.KEY.split(", ")
        found = connection.rows(
            "SELECT a.pid, a.application_name, pg_catalog.date_trunc('second', a.backend_start) "
            "FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid) "
            f"WHERE l.locktype = 'advisory' AND l.classid = {class_id} AND l.objid = {object_id} AND l.granted "
            "AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
        )
        return (
            ", ".join(f'pid {pid} ("{name}", since {since})' for pid, name, since in found)
            or "a session that has just ended"
        )
