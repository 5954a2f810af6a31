"""The run lock: one runner at a time on a database.

It is the one row of ``db_setup.run_lock``, which names the session that holds it, and is believed only while that very
session lives: so nobody without rights on the table can take or block it, and nothing is left to be cleaned up. It is
taken in one message, which never waits, and polled with plain SELECTs: a session blocked in a lock would make CREATE
INDEX CONCURRENTLY the deadlock victim, since that waits for every older transaction.

Behind a pooler in session mode the server's session outlives its client. There the row names an advisory lock, too,
which the session has to hold: the pooler lets that go with its DISCARD ALL.

Earlier versions take an advisory lock with a known key, which is taken beside the row as long as they may run. Anybody
can take that one. Who holds it and may write the row is a runner, and is waited for; anybody else is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from psycopg2 import errorcodes

from migrator.database import Connection, Deadline, Row
from migrator.errors import RunLockTimeout, ServerError
from migrator.history.refusals import creation_refused, locked
from migrator.history.rows import SCHEMA

_Sent = TypeVar("_Sent")
_TABLE = f"{SCHEMA}.run_lock"
_CLASS = 1684173925  # "db_s"; advisory locks are per database
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25  # seconds
_MISSING = frozenset({errorcodes.UNDEFINED_TABLE, errorcodes.INVALID_SCHEMA_NAME})
_BUSY = frozenset(
    {
        errorcodes.LOCK_NOT_AVAILABLE,
        errorcodes.UNIQUE_VIOLATION, errorcodes.DUPLICATE_SCHEMA, errorcodes.DUPLICATE_TABLE,
        errorcodes.INTERNAL_ERROR,  # "tuple concurrently updated"
    }
)  # fmt: skip
"""What meets a runner that takes the lock, or creates its table, at this moment."""
_UNKNOWN = "a session that has just ended"
_HERE = (
    "(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())"
)
_LIVES = f"""EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity(r.pid) o
    WHERE o.pid OPERATOR(pg_catalog.=) r.pid AND o.usesysid OPERATOR(pg_catalog.=) r.role
    AND o.datid OPERATOR(pg_catalog.=) {_HERE}
    AND coalesce(o.backend_start OPERATOR(pg_catalog.=) r.backend_start, true)
    AND (r.pooled IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_locks l
        WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted AND l.pid OPERATOR(pg_catalog.=) r.pid
        AND l.classid OPERATOR(pg_catalog.=) {_CLASS}::pg_catalog.oid
        AND l.objid OPERATOR(pg_catalog.=) r.pooled::pg_catalog.oid AND l.objsubid OPERATOR(pg_catalog.=) 2)))"""
"""Whether the session that the row ``r`` names lives; when it began is hidden from a role that is no member of its."""
_HOLDER = (
    f"SELECT r.pid, a.application_name, pg_catalog.date_trunc('second', a.backend_start) FROM {_TABLE} r "
    f"JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) r.pid WHERE {_LIVES}"
)


class RunLock:
    """The run lock of a database, which the session of a connection takes, and holds until it ends."""

    KEY = f"{_CLASS}, 1952804208"  # "db_s", "etup"
    """The advisory lock of earlier versions."""

    CREATE_SCHEMA_SQL = f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}; REVOKE ALL ON SCHEMA {SCHEMA} FROM PUBLIC; "

    CREATE_SQL = f"""
CREATE TABLE IF NOT EXISTS {_TABLE} (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    pid integer,
    backend_start timestamptz,
    role oid,
    token text,
    pooled integer
);
INSERT INTO {_TABLE} DEFAULT VALUES ON CONFLICT DO NOTHING;
REVOKE ALL ON {_TABLE} FROM PUBLIC;
COMMENT ON TABLE {_TABLE} IS 'Which session runs; believed only while that session lives';
COMMENT ON COLUMN {_TABLE}.token IS 'What the run knows itself by';
COMMENT ON COLUMN {_TABLE}.pooled IS
    'Behind a pooler: the number of the advisory lock that the session has to hold, too, since it outlives its client';
"""
    """Harmless where the table is."""

    def __init__(self, connection: Connection, *, creates: bool = True) -> None:
        """``creates``: whether the table is created where it is missing; else the key alone is taken there."""
        self._connection = connection
        self._creates = creates
        self._has_row = self._has_key = self._has_tried = False
        self.strangers = ""
        """Who holds the key of earlier versions and is no runner, for people."""

    def acquire(self, deadline: Deadline, waiting: Callable[[str], None]) -> bool:
        """Take the run lock, polling within the deadline; ``waiting`` is called once with the holder.

        Returns whether it had to be waited for. Raises RunLockTimeout, which names the holder.
        """
        waited = _poll(self._in_the_way, deadline, waiting)
        self._connection.holds_run_lock = self.held_sql(self._connection, others_hold_key=bool(self.strangers))
        return waited

    @staticmethod
    def is_missing(connection: Connection) -> bool:
        """Return whether the database has no table for the row, as histories of earlier versions have none."""
        return bool(connection.rows(f"SELECT pg_catalog.to_regclass('{_TABLE}') IS NULL")[0][0])

    @classmethod
    def held_sql(cls, connection: Connection, *, others_hold_key: bool = False) -> str:
        """Return the SQL that is true while the row names this session and its run, and keeps it so to the COMMIT.

        An earlier version must not have the key; where somebody else has it, its holders are looked at.
        """
        if connection.shares_sessions:
            ours = f"NOT EXISTS (SELECT FROM {_TABLE} r WHERE {_LIVES})"  # and the transaction has locked the row
        else:
            ours = (
                f"EXISTS (SELECT FROM {_TABLE} WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() "
                f"AND token OPERATOR(pg_catalog.=) {connection.literal(connection.token)} FOR UPDATE)"
            )
            if connection.is_pooled:  # a file may have let it go, and nobody has taken the row since
                ours += f" AND pg_catalog.pg_try_advisory_lock({_CLASS}, {cls._own_key(connection)})"
        no_runner = f"NOT EXISTS (SELECT FROM ({cls._holders()}) h WHERE h.runs)" if others_hold_key else "false"
        key = f"CASE WHEN pg_catalog.pg_try_advisory_xact_lock({cls.KEY}) THEN true ELSE {no_runner} END"
        return f"CASE WHEN {ours} THEN {key} ELSE false END"

    ROW_SQL = f"SELECT FROM {_TABLE} FOR UPDATE NOWAIT; "
    """Locks the row for a transaction, and never waits."""

    @classmethod
    def key_sql(cls, connection: Connection) -> str:
        """Return the SQL that takes the key of earlier versions, if it is free, for as long as the lock is held."""
        return f"pg_catalog.pg_try_advisory_{'xact_' if connection.shares_sessions else ''}lock({cls.KEY})"

    @classmethod
    def take_sql(cls, connection: Connection, create: str = "") -> tuple[str, str, str]:
        """Return the statements, for one message, that take the lock if it is free, and never wait.

        The last one returns whether the row is taken, whether there is one, and whether the key is held.
        """
        token, key = connection.literal(connection.token), "NULL"
        if connection.is_pooled:
            own = cls._own_key(connection)
            key = f"CASE WHEN pg_catalog.pg_try_advisory_lock({_CLASS}, {own}) THEN {own} END"
        return (
            f"SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE; {create}",
            cls.ROW_SQL,
            (
                "WITH me AS (SELECT * FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())), "
                f"taken AS (UPDATE {_TABLE} r SET pid = me.pid, backend_start = me.backend_start, role = me.usesysid, "
                f"token = {token}, pooled = {key} FROM me WHERE r.pid IS NULL OR (r.pid OPERATOR(pg_catalog.=) me.pid "
                f"AND coalesce(r.backend_start OPERATOR(pg_catalog.=) me.backend_start, true)) OR NOT {_LIVES} "
                "RETURNING 1) "
                f"SELECT EXISTS (SELECT FROM taken) AS taken, EXISTS (SELECT FROM {_TABLE}) AS there, "
                f"CASE WHEN EXISTS (SELECT FROM taken) THEN pg_catalog.pg_try_advisory_lock({cls.KEY}) END AS key"
            ),
        )

    def acquire_for_transaction(self, deadline: Deadline, waiting: Callable[[str], None]) -> bool:
        """Begin a transaction that has the run lock to its end, where no session is ours; else as ``acquire``."""
        return _poll(self._in_the_way_of_transaction, deadline, waiting)

    def _in_the_way_of_transaction(self) -> str | None:
        """Return who has the lock, for people; None once this transaction has it."""
        connection, held = self._connection, self.held_sql(self._connection, others_hold_key=True)
        try:
            if connection.rows(f"BEGIN; {self.ROW_SQL}SELECT {held}")[0][0]:
                connection.holds_run_lock = held
                return None
        except ServerError as error:
            connection.rollback()
            if error.sqlstate in _MISSING:
                self._create()
            elif error.sqlstate not in _BUSY:
                raise
            return _UNKNOWN
        runners = [row for row in connection.rows(self._holders()) if row[-1]]
        holder = self._holder() or ", ".join(_told(row[:3]) for row in runners) or _UNKNOWN
        connection.rollback()
        return holder

    @classmethod
    def release_sql(cls, connection: Connection) -> str:
        """Return the statements that let the lock go before the session ends."""
        keys = (cls.KEY, f"{_CLASS}, {cls._own_key(connection)}")
        unlock = ", ".join(f"pg_catalog.pg_advisory_unlock({key})" for key in keys)
        token = connection.literal(connection.token)
        return f"UPDATE {_TABLE} SET pid = NULL WHERE token OPERATOR(pg_catalog.=) {token}; SELECT {unlock}"

    @staticmethod
    def _own_key(connection: Connection) -> int:
        """Return the number of the advisory lock of a run behind a pooler, which nobody knows before it is taken."""
        return int(connection.token[:7], 16)

    # ---- who is in the way

    def _in_the_way(self) -> str | None:
        """Return who has the lock, for people; None once this session has it."""
        if not self._has_row:
            if self._has_tried and (holder := self._holder()):
                return holder
            self._has_tried = True
            if not self._take():
                return self._holder() or _UNKNOWN
        return None if self._has_key else self._key_holder()

    def _take(self) -> bool:
        """Take the row, and the key with it, if they are free; where there is no table, create it, or do without."""
        try:
            taken, there, key = self._rows("")[0]
        except ServerError as error:
            if error.sqlstate in _BUSY:
                return False
            if error.sqlstate not in _MISSING:
                raise
            taken, there, key = self._create_and_take() if self._creates else (True, True, False)
        if not there:
            taken, there, key = self._create_and_take()
            if not there and not self._has_row:
                self._refuse_obstacles()
        self._has_row, self._has_key = bool(taken), bool(key)
        return self._has_row

    def _rows(self, create: str) -> list[Row]:
        return self._connection.rows("".join(self.take_sql(self._connection, create)))

    def _create_and_take(self) -> tuple[bool, bool, bool]:
        """Create the table and take the lock, all or nothing; nothing where others are at it."""
        found = self._creating(lambda create: self._rows(create)[0])
        return (bool(found[0]), bool(found[1]), bool(found[2])) if found else (False, True, False)

    def _create(self) -> None:
        """Create the table; others may be at it."""
        self._creating(self._connection.run)

    def _creating(self, send: Callable[[str], _Sent]) -> _Sent | None:
        """Send a message with the statements that create the table; None where others are at it."""
        try:
            found = self._creating_schema(send)
        except ServerError as error:
            if error.sqlstate in _BUSY:
                return None
            raise creation_refused(self._connection, error) from error
        self._connection.take_notices()  # of what is there already
        return found

    def _creating_schema(self, send: Callable[[str], _Sent]) -> _Sent:
        """Send it with the schema, which wants rights on the database, come what may; then without."""
        try:
            return send(self.CREATE_SCHEMA_SQL + self.CREATE_SQL)
        except ServerError as refused:
            if refused.sqlstate != errorcodes.INSUFFICIENT_PRIVILEGE:
                raise
            try:
                return send(self.CREATE_SQL)
            except ServerError as error:
                raise refused if error.sqlstate in _MISSING else error  # noqa: B904 - the other is of no interest

    def _refuse_obstacles(self) -> None:
        from migrator.history.schema import OBSTACLES  # noqa: PLC0415 - for failures

        raise locked(self._connection.rows(f"SELECT {OBSTACLES}")[0][0] or f"GRANT ALL ON {_TABLE}")

    def _holder(self) -> str:
        """Return whom the row names, if that session lives, for people."""
        try:
            found = self._connection.rows(_HOLDER)
        except ServerError as error:
            if error.sqlstate not in _MISSING:
                raise
            return ""
        return ", ".join(map(_told, found))

    def _key_holder(self) -> str | None:
        """Take the key; return the runners that have it, None where there is none. Others are noted as strangers."""
        query = (
            f"SELECT (SELECT pg_catalog.pg_try_advisory_lock({self.KEY})), h.* "
            f"FROM (SELECT) one LEFT JOIN ({self._holders()}) h ON true"
        )
        found = self._connection.rows(query)
        self._has_key = bool(found[0][0])
        if self._has_key:
            self.strangers = ""
            return None
        holders = [row[1:] for row in found if row[-1] is not None]
        if not holders:
            return _UNKNOWN
        self.strangers = ", ".join(
            f'pid {pid} (role "{role}")' if pid else "a prepared transaction"
            for pid, _, _, role, runs in holders
            if not runs
        )
        return ", ".join(_told(row[:3]) for row in holders if row[-1]) or None

    @staticmethod
    def _holders() -> str:
        """Return the query for who has the key of earlier versions, and whether that may be a runner."""
        class_id, object_id = RunLock.KEY.split(", ")
        return f"""SELECT l.pid, a.application_name, pg_catalog.date_trunc('second', a.backend_start) AS since,
    pg_catalog.pg_get_userbyid(a.usesysid) AS role, coalesce(c.oid IS NULL
        OR pg_catalog.pg_has_role(a.usesysid, c.relowner, 'MEMBER')
        OR pg_catalog.has_table_privilege(a.usesysid, c.oid, 'UPDATE')
        AND pg_catalog.has_schema_privilege(a.usesysid, c.relnamespace, 'USAGE'), false) AS runs
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_get_activity(NULL) a ON a.pid OPERATOR(pg_catalog.=) l.pid
LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('{_TABLE}')::pg_catalog.oid
WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted AND l.objsubid OPERATOR(pg_catalog.=) 2
AND l.classid OPERATOR(pg_catalog.=) {class_id}::pg_catalog.oid
AND l.objid OPERATOR(pg_catalog.=) {object_id}::pg_catalog.oid AND l.database OPERATOR(pg_catalog.=) {_HERE}"""


def _poll(in_the_way: Callable[[], str | None], deadline: Deadline, waiting: Callable[[str], None]) -> bool:
    """Ask who is in the way until nobody is, within the deadline; return whether that had to be waited for."""
    pause, waited = _FIRST_PAUSE, False
    while (holder := in_the_way()) is not None:
        if not waited:
            waiting(holder)
        waited = True
        if not deadline.pause(pause):
            raise _timeout(holder)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    return waited


def _timeout(holder: str) -> RunLockTimeout:
    return RunLockTimeout(
        f"another runner has the run lock: {holder}",
        fix="run it again when that has finished. The session of a run that was killed ends within a second, that of "
        "one whose network was lost within a minute; on PostgreSQL 12 and 13 its statement may go on to its time "
        "limit. SELECT pg_terminate_backend(PID), as the same role, ends it at once",
    )


def _told(row: tuple[object, ...]) -> str:
    pid, name, since = row
    return f'pid {pid} ("{name}", since {since})'
