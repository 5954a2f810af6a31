"""The journal of a stepwise file: which of its steps are proven done, so that a re-run begins at the next.

It lives in the file's row of the history. Each entry takes off the role that the file may have put on, for its own
transaction only, and checks the run lock on the way.

The ledger: what a file that is run leaves in the history, inside its own transaction or step by step.

The record: the statement by which a migration stands in the history, inside the migration's own transaction.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from migrator.database.connection import Connection
from migrator.errors import RunLockLost
from migrator.files import REPEATABLE
from migrator.history.rows import AppliedMigration
from migrator.history.run_lock import HELD_SQL
from migrator.history.schema import SCHEMA
from migrator.planning.plan import Pending
from migrator.scripts import Script
from migrator.version import PACKAGE_VERSION

AS_OWNER = "SET LOCAL SESSION AUTHORIZATION DEFAULT; SET LOCAL ROLE NONE; "
_FENCE = f"state = CASE WHEN {HELD_SQL} THEN state END"


class StepProgress(NamedTuple):
    """How far a file has come: steps done, the checksum chained over their texts, and the step begun last.

    ``step_note`` is what that step, which could not run in a transaction, found before it began.
    """

    steps: int = 0
    steps_checksum: str = ""
    step_begun: int = 0
    step_note: str = ""


def open_steps(connection: Connection, row: AppliedMigration, run_id: int, down: str | None = None) -> StepProgress:
    """Record that a stepwise file is being applied, and return how far an earlier run has brought it."""
    name, number, checksum = map(connection.literal, row[:3])
    again = ""
    if row.name.startswith(REPEATABLE):
        again = f"{forget_sql(name)} AND (state OPERATOR(pg_catalog.=) 'applied' OR "
        again += f"checksum OPERATOR(pg_catalog.<>) {checksum}); "
    found = connection.rows(
        f"{again}INSERT INTO {SCHEMA}.history AS h "
        "(name, number, checksum, state, mode, run_id, package_version, down_sql) "
        f"VALUES ({name}, {number}, {checksum}, CASE WHEN {HELD_SQL} THEN 'running' END, 'stepwise', {run_id}, "
        f"'{PACKAGE_VERSION}', {text_literal(down)}) ON CONFLICT (name) DO UPDATE SET "
        f"checksum = excluded.checksum, run_id = {run_id}, mode = 'stepwise', "
        "package_version = excluded.package_version, down_sql = excluded.down_sql "
        "WHERE h.state OPERATOR(pg_catalog.=) 'running' RETURNING steps, steps_checksum, step_begun, step_note"
    )
    if not found:
        raise RunLockLost(f"another runner has applied {row.name} meanwhile", fix="run it again")
    return StepProgress._make(found[0])


def done_sql(connection: Connection, name: str, steps: int, steps_checksum: str) -> str:
    """Return the statements that record a step, to be sent in the step's own transaction."""
    return AS_OWNER + _update(
        connection, name, f"steps = {steps}, steps_checksum = '{steps_checksum}', step_note = '', {_FENCE}"
    )


def begin_step(connection: Connection, name: str, step: int, note: str) -> None:
    """Record, before a step outside any transaction begins, that it may have, and what it found."""
    values = f"step_begun = {step}, step_note = {connection.literal(note)}, {_FENCE}"
    connection.run(f"BEGIN; {AS_OWNER}{_update(connection, name, values)}; COMMIT")


def end_step(connection: Connection, name: str, steps: int, steps_checksum: str) -> None:
    """Record a step after it has run outside any transaction."""
    connection.run(f"BEGIN; {done_sql(connection, name, steps, steps_checksum)}; COMMIT")


def close_steps(connection: Connection, name: str) -> None:
    """Record that the file has been applied whole."""
    values = "state = 'applied', applied_at = pg_catalog.clock_timestamp()"
    connection.run(f"BEGIN; {AS_OWNER}{_update(connection, name, values)}; COMMIT")


def _update(connection: Connection, name: str, values: str) -> str:
    return f"UPDATE {SCHEMA}.history SET {values} WHERE name OPERATOR(pg_catalog.=) {connection.literal(name)}"


class Records(Protocol):
    """The records of one direction. Each of them fails where another runner has the run lock."""

    def recorded_name(self, script: Script, /) -> str:
        """Return the name that the history has, or will have, for what a script is about."""

    def record_sql(self, connection: Connection, pending: Pending, script: Script, run_id: int, /) -> str:
        """Return the statement that records a file inside its transaction."""

    def open(self, connection: Connection, pending: Pending, script: Script, run_id: int, /) -> StepProgress:
        """Record that a stepwise file is at work, and return how far it has come."""

    def close(self, connection: Connection, name: str, /) -> None:
        """Record that a stepwise file has come to its end."""


class ApplyRecords:
    """The records of files that are applied: a row for each."""

    def recorded_name(self, script: Script) -> str:
        """Return the name of the file."""
        return script.migration.name

    def record_sql(self, connection: Connection, pending: Pending, script: Script, run_id: int) -> str:
        """Return the statement that adds the row."""
        return record_sql(connection, _row(pending, "applied"), script.mode, run_id, script.down)

    def open(self, connection: Connection, pending: Pending, script: Script, run_id: int) -> StepProgress:
        """Add the row, or find how far an earlier run has come."""
        return open_steps(connection, _row(pending, "running"), run_id, script.down)

    def close(self, connection: Connection, name: str) -> None:
        """Mark the row as applied."""
        close_steps(connection, name)


def _row(pending: Pending, state: str) -> AppliedMigration:
    return AppliedMigration(pending.migration.name, pending.number, pending.migration.checksum, state)


APPLY = ApplyRecords()


def record_sql(connection: Connection, row: AppliedMigration, mode: str, run_id: int, down: str | None = None) -> str:
    """Return the statement that records a migration, and its way back, inside its own transaction.

    It is also the fence: it fails on ``state`` when another runner has the run lock, and on ``name`` when
    another has recorded the file; either way nothing of the transaction is kept.
    """
    name, number, checksum, state = map(connection.literal, row[:4])
    again = f"{forget_sql(name)}; " if row.name.startswith(REPEATABLE) else ""
    return (
        f"{again}INSERT INTO {SCHEMA}.history (name, number, checksum, state, mode, run_id, package_version, down_sql) "
        f"VALUES ({name}, {number}, {checksum}, CASE WHEN {HELD_SQL} THEN {state} END, "
        f"'{mode}', {run_id}, '{PACKAGE_VERSION}', {text_literal(down)})"
    )


def forget_sql(name: str) -> str:
    """Return the statement that makes room for a repeatable file's next record; ``name`` is a literal."""
    return f"DELETE FROM {SCHEMA}.history WHERE name OPERATOR(pg_catalog.=) {name}"


def text_literal(text: str | None) -> str:
    """Return a long text as a literal that means the same whatever the file at hand does to backslashes."""
    if text is None:
        return "NULL"
    doubled = text.replace("'", "''")
    return f"'{doubled}'" if "\\" not in doubled else "E'" + doubled.replace("\\", "\\\\") + "'"
