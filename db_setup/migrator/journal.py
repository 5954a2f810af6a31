"""The journal of a stepwise file: which of its steps are proven done, so that a re-run begins at the next.

It lives in the file's row of the history. Each entry takes off the role that the file may have put on, for its own
transaction only, and checks the run lock on the way.
"""

from __future__ import annotations

from migrator.connection import Connection
from migrator.errors import RunLockLost
from migrator.history import PACKAGE_VERSION
from migrator.history_tables import SCHEMA
from migrator.light import NamedTuple
from migrator.lock import HELD_SQL
from migrator.migration import REPEATABLE, AppliedMigration
from migrator.record import forget_sql, text_literal

AS_OWNER = "SET LOCAL SESSION AUTHORIZATION DEFAULT; SET LOCAL ROLE NONE; "
_FENCE = f"state = CASE WHEN {HELD_SQL} THEN state END"


class Journal(NamedTuple):
    """How far a file has come: steps done, the checksum chained over their texts, and the step begun last.

    ``step_note`` is what that step, which could not run in a transaction, found before it began.
    """

    steps: int = 0
    steps_checksum: str = ""
    step_begun: int = 0
    step_note: str = ""


def open_journal(
    connection: Connection, row: AppliedMigration, run_id: int, down: str | None = None
) -> Journal:
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
        raise RunLockLost(f"another runner has applied {row.name} meanwhile", cure="run it again")
    return Journal._make(found[0])


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


def close_journal(connection: Connection, name: str) -> None:
    """Record that the file has been applied whole."""
    values = "state = 'applied', applied_at = pg_catalog.clock_timestamp()"
    connection.run(f"BEGIN; {AS_OWNER}{_update(connection, name, values)}; COMMIT")


def _update(connection: Connection, name: str, values: str) -> str:
    return f"UPDATE {SCHEMA}.history SET {values} WHERE name OPERATOR(pg_catalog.=) {connection.literal(name)}"
