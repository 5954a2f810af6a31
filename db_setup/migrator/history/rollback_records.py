"""Backward: what the history knows of ways back, and how it forgets a migration that was rolled back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from migrator.database.connection import Connection
from migrator.errors import RunLockLost
from migrator.files import REPEATABLE
from migrator.history.records import AS_OWNER, StepProgress
from migrator.history.rows import Recorded
from migrator.history.run_lock import HELD_SQL
from migrator.history.schema import SCHEMA
from migrator.planning.plan import Pending
from migrator.scripts import Script

_REPEAT = (
    f"UPDATE {SCHEMA}.history SET checksum = '' WHERE pg_catalog.starts_with(name, '{REPEATABLE}') "
    "AND checksum OPERATOR(pg_catalog.<>) ''"
)
"""Has repeatable files run again: what they made may have gone with what a way back has dropped."""
_GOAL = re.compile(r"(?:\A|\n)([0-9]+) steps? back, to position ([0-9]+)\Z")


def read(connection: Connection) -> list[Recorded]:
    """Return what can be rolled back, in the order of application, without the texts of the ways back."""
    rows = connection.rows(f'SELECT "position", name, number, state FROM {SCHEMA}.history ORDER BY "position"')
    return [Recorded(*row) for row in rows if not row[1].startswith(REPEATABLE)]


def stored(connection: Connection, rows: Sequence[Recorded]) -> dict[int, str]:
    """Return the ways back that the history has, by position; tables of an earlier version have none."""
    if not rows:
        return {}
    positions = ", ".join(str(row.position) for row in rows)
    found = connection.rows(
        f"SELECT \"position\", pg_catalog.to_jsonb(h) ->> 'down_sql' FROM {SCHEMA}.history h "
        f'WHERE "position" IN ({positions})'
    )
    return {position: text for position, text in found if text is not None}


def goal_note(steps: int, goal: int) -> str:
    """Return what the run of a rollback by steps says until it succeeds, so that a re-run goes no further."""
    return f"{steps} step{'s' * (steps > 1)} back, to position {goal}"


def unfinished_goal(connection: Connection, steps: int) -> int | None:
    """Return where the last rollback was going, if it was one of so many steps, within the hour, that did not succeed.

    What has been done since to users, or to the history by repair, is no other direction.
    """
    found = connection.rows(
        f"SELECT message FROM {SCHEMA}.runs WHERE id = (SELECT pg_catalog.max(id) FROM {SCHEMA}.runs "
        "WHERE action NOT IN ('rotate', 'repair')) AND action = 'rollback' AND outcome <> 'succeeded' "
        "AND started_at > pg_catalog.clock_timestamp() - interval '1 hour'"
    )
    goal = _GOAL.search(found[0][0]) if found else None
    return int(goal[2]) if goal and int(goal[1]) == steps else None


def done_meanwhile(connection: Connection) -> bool:
    """Tell whether another rollback has succeeded since this session began, and so while it waited for the lock."""
    query = (
        f"SELECT id FROM {SCHEMA}.runs WHERE id = (SELECT pg_catalog.max(id) FROM {SCHEMA}.runs) "
        "AND action = 'rollback' AND outcome = 'succeeded' AND finished_at > ("
        "SELECT backend_start FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid())"
    )
    return bool(connection.rows(query))


class RollbackRecords:
    """The records of ways back: the row of a migration goes with what it had made."""

    def __init__(self, rows: Mapping[str, Recorded]) -> None:
        self._rows = rows  # by the name of the way back

    def recorded_name(self, script: Script) -> str:
        """Return the name of the migration that a way back belongs to."""
        return self._rows[script.migration.name].name

    def record_sql(self, _connection: Connection, pending: Pending, _script: Script, _run_id: int) -> str:
        """Return the statement that removes the row, and fails where it is gone or another has the run lock."""
        return f"{_removal(self._rows[pending.migration.name].position)}; {_REPEAT}"

    def open(self, connection: Connection, pending: Pending, _script: Script, run_id: int) -> StepProgress:
        """Mark the row as being taken back, or find how far an earlier run has come."""
        row = self._rows[pending.migration.name]
        kept = "CASE WHEN h.state OPERATOR(pg_catalog.=) 'reverting' THEN h.{0} ELSE {1} END"
        values = {"steps": "0", "steps_checksum": "''", "step_begun": "0", "step_note": "''"}
        journal = ", ".join(f"{name} = {kept.format(name, start)}" for name, start in values.items())
        found = connection.rows(
            f"UPDATE {SCHEMA}.history h SET state = CASE WHEN {HELD_SQL} THEN 'reverting' END, run_id = {run_id}, "
            f'{journal} WHERE h."position" OPERATOR(pg_catalog.=) {row.position} RETURNING {", ".join(values)}'
        )
        if not found:
            raise RunLockLost(f"another runner has rolled back {row.name} meanwhile", fix="run it again")
        return StepProgress._make(found[0])

    def close(self, connection: Connection, name: str) -> None:
        """Remove the row of a migration whose way back was stepwise."""
        (position,) = (row.position for row in self._rows.values() if row.name == name)
        connection.run(f"BEGIN; {AS_OWNER}{_removal(position)}; {_REPEAT}; COMMIT")


def _removal(position: int) -> str:
    """Return the statement that removes a row; its INSERT adds none, it fails where something is wrong."""
    return (
        f'WITH gone AS (DELETE FROM {SCHEMA}.history WHERE "position" OPERATOR(pg_catalog.=) {position} RETURNING 1) '
        f"INSERT INTO {SCHEMA}.history (name, number, checksum, state, mode, package_version) "
        f"SELECT '', '', '', NULL, '', '' WHERE NOT EXISTS (SELECT FROM gone) OR NOT {HELD_SQL}"
    )
