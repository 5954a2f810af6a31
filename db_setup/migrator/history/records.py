"""What a file that is applied leaves in the history: its row, written inside its transaction or step by step.

The row is also the fence. It is written only while nobody else has the run lock, and only once for a name; where that
does not hold, the statement fails, and the file's transaction is rolled back.

Each record of a step sets aside the role that the file may have set, for its own transaction only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from psycopg2 import errorcodes

from migrator.database import Connection
from migrator.errors import RunLockLost, ServerError, StepUndecided
from migrator.files import REPEATABLE
from migrator.formatting import Location
from migrator.history.questions import Question, undecided
from migrator.history.rows import NEXT_POSITION, QUESTION, SCHEMA, AppliedMigration
from migrator.version import VERSION

AS_OWNER = "SET LOCAL SESSION AUTHORIZATION DEFAULT; SET LOCAL ROLE NONE; "
_OPTIONS = "ISOLATION LEVEL READ COMMITTED READ WRITE"
BEGIN = f"BEGIN {_OPTIONS}"
"""Begins a transaction of ours, whatever a file has made the default."""
_PREPARED = "db_setup_record"
_FENCE_STATES = {errorcodes.NOT_NULL_VIOLATION, errorcodes.UNIQUE_VIOLATION}


class StepProgress(NamedTuple):
    """How far a file has come: steps done, the checksum chained over their texts, and the step begun last.

    ``step_note`` is what that step, which could not run in a transaction, found before it began, or a question that a
    person has to answer. ``step_session`` is what the steps have left in the session, none where that was not recorded.
    """

    steps: int = 0
    steps_checksum: str = ""
    step_begun: int = 0
    step_note: str = ""
    step_session: str | None = None

    @property
    def has_question(self) -> bool:
        """Whether a person has to say what became of the step begun last."""
        return self.step_note.startswith(QUESTION)

    def undecided(self, name: str) -> StepUndecided:
        """Return the error for the question about a step of a file."""
        return undecided(name, self.step_note)

    @staticmethod
    def question(where: Location, checksum: str, text: str) -> str:
        """Return the note that asks what became of the step at a place, up to which a checksum is chained."""
        return Question(where.line, where.column, checksum, text).note


class Record(ABC):
    """How one file is recorded; ``name`` is that of its row. Each statement fails where another has the run lock."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def sql(self, connection: Connection) -> str:
        """Return the statement that records the file inside its transaction."""

    def prepared_sql(self, connection: Connection) -> str:
        """Return the same for a session in which ``ApplyRecord.prepare_sql`` was sent."""
        return self.sql(connection)

    @abstractmethod
    def open(self, connection: Connection) -> StepProgress:
        """Record that the file is being run step by step, and return how far an earlier run has brought it."""

    @abstractmethod
    def close(self, connection: Connection) -> None:
        """Record that the file has been run to its end."""

    @staticmethod
    def is_fence(error: ServerError) -> bool:
        """Return whether an error is that of the fence: another runner has the lock, or has recorded the file."""
        if error.sqlstate == errorcodes.LOCK_NOT_AVAILABLE:
            return "run_lock" in error.message  # where each transaction takes it by itself
        return error.schema == SCHEMA and error.table == "history" and error.sqlstate in _FENCE_STATES

    def step_sql(self, connection: Connection, steps: int, checksum: str, session: str = "step_session") -> str:
        """Return the statements that record the steps done so far, to be sent in the transaction of the last one.

        ``session`` is the SQL for what they have left in the session.
        """
        done = f"steps = {steps}, steps_checksum = '{checksum}'"
        values = f"{done}, step_note = '', step_session = {session}, {_fence(connection)}"
        return AS_OWNER + self._update(connection, values)

    def begin_step(self, connection: Connection, step: int, note: str) -> None:
        """Record, before a step outside any transaction begins, that it may have, and what it found."""
        values = f"step_begun = {step}, step_note = {connection.literal(note)}, {_fence(connection)}"
        connection.run(f"{BEGIN}; {AS_OWNER}{self._update(connection, values)}; COMMIT")

    def forget_step(self, connection: Connection) -> None:
        """Record that the step begun last is known not to be done."""
        self.begin_step(connection, 0, "")

    def end_step(
        self, connection: Connection, steps: int, checksum: str, before: str = "", session: str = "step_session"
    ) -> None:
        """Record a step after it has run outside any transaction; ``before`` is sent as the role that the file has."""
        connection.run(f"{BEGIN}; {before}{self.step_sql(connection, steps, checksum, session)}; COMMIT")

    def session_sql(self, connection: Connection, before: str, session: str, condition: str) -> str:
        """Return the statements that record the session once more where a condition holds, in a message's last part.

        They are no block of their own: an error in them leaves the session outside any transaction.
        """
        name = connection.literal(self.name)
        return (
            f"SET TRANSACTION {_OPTIONS}; {before}{AS_OWNER}UPDATE {SCHEMA}.history SET step_session = {session} "
            f"WHERE name OPERATOR(pg_catalog.=) {name} AND {condition}"
        )

    def progress(self, connection: Connection) -> StepProgress:
        """Return how far this run is, whatever role the file has set; raises RunLockLost without a row."""
        name, columns = connection.literal(self.name), ", ".join(StepProgress._fields)
        query = f"SELECT {columns} FROM {SCHEMA}.history WHERE name OPERATOR(pg_catalog.=) {name}"
        found = connection.rows(f"{AS_OWNER}{query}")
        if not found:
            fix = "put the row back: steps of this file are done, and without it they would be run again"
            raise RunLockLost(f"the row of {self.name} in the history is gone", fix=fix)
        return StepProgress._make(found[0])

    def _update(self, connection: Connection, values: str) -> str:
        """Return the statement that updates the row, and fails where it is gone; its INSERT adds none."""
        name = connection.literal(self.name)
        change = f"UPDATE {SCHEMA}.history SET {values} WHERE name OPERATOR(pg_catalog.=) {name}"
        return refused_by_fence(change, "NOT EXISTS (SELECT FROM changed)")


def _fence(connection: Connection) -> str:
    """Return what an UPDATE sets so that it fails where the run lock is not held."""
    return f"state = CASE WHEN {connection.holds_run_lock} THEN state END"


def refused_by_fence(change: str, condition: str) -> str:
    """Return the statement that changes a row and fails, as the fence does, where a condition on it holds.

    The rows that it has changed are ``changed``; its INSERT adds none.
    """
    return (
        f"WITH changed AS ({change} RETURNING 1) "
        f"INSERT INTO {SCHEMA}.history (position, name, number, checksum, state, mode, package_version) "
        f"OVERRIDING SYSTEM VALUE SELECT 0, '', '', '', NULL, '', '' WHERE {condition}"
    )


class ApplyRecord(Record):
    """The row of a file that is applied, with the text of its down migration."""

    BEHIND_ALL = NEXT_POSITION
    """The SQL for a position that is not known to who writes the statement."""

    def __init__(self, row: AppliedMigration, mode: str, run_id: int, position: int, down: str | None = None) -> None:
        super().__init__(row.name)
        self._position = position
        self._row = row
        self._mode = mode
        self._run_id = run_id
        self._down = down

    @staticmethod
    def prepare_sql(connection: Connection) -> str:
        """Return what prepares the statement that adds a row, which the server takes long to read."""
        return (
            f"PREPARE {_PREPARED} (text, text, text, text, bigint, text, bigint) AS INSERT INTO {SCHEMA}.history "
            "(position, name, number, checksum, state, mode, run_id, package_version, down_sql) "
            "OVERRIDING SYSTEM VALUE VALUES ($7, $1, $2, $3, "
            f"CASE WHEN {connection.holds_run_lock} THEN 'applied' END, $4, $5, '{VERSION}', $6)"
        )

    def sql(self, connection: Connection) -> str:
        """Return the statements that add the row.

        Where no session is ours, runs take turns: the history that a later one has sealed is open again with the row.
        """
        insert = self._insert(connection, "applied", self._mode, "; ")
        if not connection.shares_sessions:
            return insert
        return (
            f"UPDATE {SCHEMA}.runs SET history_head = NULL WHERE id OPERATOR(pg_catalog.>) {self._run_id} "
            f"AND history_head IS NOT NULL; {insert}"
        )

    def prepared_sql(self, connection: Connection) -> str:
        """Return what adds the row by the prepared statement, unless there was a row of that name before."""
        if self.name.startswith(REPEATABLE) or self._row.earlier:
            return self.sql(connection)
        row = (self.name, self._row.number, self._row.checksum, self._mode, self._run_id, self._down, self._position)
        return f"EXECUTE {_PREPARED} ({connection.literals(*row)})"

    def open(self, connection: Connection) -> StepProgress:
        """Add the row, or find how far an earlier run has come; raises RunLockLost where the file is applied."""
        checksum = connection.literal(self._row.checksum)
        old = f" AND (state OPERATOR(pg_catalog.=) 'applied' OR checksum OPERATOR(pg_catalog.<>) {checksum}); "
        found = connection.rows(
            f"{self._insert(connection, 'running', 'stepwise', old)} ON CONFLICT (name) DO UPDATE SET "
            f"checksum = excluded.checksum, run_id = {self._run_id}, mode = 'stepwise', "
            "package_version = excluded.package_version, down_sql = excluded.down_sql "
            f"WHERE h.state OPERATOR(pg_catalog.=) 'running' RETURNING {', '.join(StepProgress._fields)}"
        )
        if not found:
            raise RunLockLost(f"another runner has applied {self.name} meanwhile", fix="run it again")
        return StepProgress._make(found[0])

    def close(self, connection: Connection) -> None:
        """Mark the row as applied; the session that its steps have left, which may hold secrets, is forgotten."""
        values = (
            f"state = CASE WHEN {connection.holds_run_lock} THEN 'applied' END, "
            "applied_at = pg_catalog.clock_timestamp(), step_session = NULL"
        )
        connection.run(f"{BEGIN}; {AS_OWNER}{self._update(connection, values)}; COMMIT")

    def _insert(self, connection: Connection, state: str, mode: str, removed: str) -> str:
        """Return the INSERT; ``removed`` ends the DELETE that goes before it for a repeatable file."""
        name, number, checksum = self.name, self._row.number, self._row.checksum
        position = NEXT_POSITION if connection.shares_sessions else self._position  # others may have written meanwhile
        again = ""
        if name.startswith(REPEATABLE):
            literal = connection.literal(name)
            again = f"DELETE FROM {SCHEMA}.history WHERE name OPERATOR(pg_catalog.=) {literal}{removed}"
        return (
            f"{again}INSERT INTO {SCHEMA}.history AS h "
            "(position, name, number, checksum, state, mode, run_id, package_version, down_sql, earlier_checksums) "
            f"OVERRIDING SYSTEM VALUE VALUES ({position}, {connection.literals(name, number, checksum)}, "
            f"CASE WHEN {connection.holds_run_lock} THEN '{state}' END, "
            f"'{mode}', {self._run_id}, '{VERSION}', {connection.literal(self._down)}, "
            f"{connection.literal(self._row.earlier) if self._row.earlier else 'NULL'})"
        )
