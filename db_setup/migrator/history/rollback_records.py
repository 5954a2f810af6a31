"""What a rollback reads from the history, and how a row goes when its migration is rolled back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from migrator.database import Connection
from migrator.errors import RunLockLost
from migrator.files import REPEATABLE
from migrator.history.history import History
from migrator.history.records import AS_OWNER, BEGIN, Record, StepProgress, refused_by_fence
from migrator.history.rows import SCHEMA, Recorded

_REPEAT = (
    f"UPDATE {SCHEMA}.history SET checksum = '' WHERE pg_catalog.starts_with(name, '{REPEATABLE}') "
    "AND checksum OPERATOR(pg_catalog.<>) ''"
)
"""Has repeatable files run again: what they made may have gone with what a down migration has dropped."""
_GOAL = re.compile(r"(?:\A|\n)([0-9]+) steps? back, to position ([0-9]+)\Z")
_OF_LAMBDA = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class UnheardRollback(NamedTuple):
    """A rollback by steps that its caller has not heard to succeed: it did not, or was cut off before it could say so.

    ``goal`` is the position that it was going back to, ``names`` what it has rolled back.
    """

    run_id: int
    goal: int
    names: tuple[str, ...]


class RollbackHistory(History):
    """The history as a rollback reads it."""

    def recorded(self) -> list[Recorded]:
        """Return what can be rolled back, in the order of application, without the texts of the down migrations."""
        query = f'SELECT "position", name, number, state FROM {SCHEMA}.history ORDER BY "position"'
        return [Recorded(*row) for row in self._connection.rows(query) if not row[1].startswith(REPEATABLE)]

    def stored_downs(self, rows: Sequence[Recorded]) -> dict[int, str]:
        """Return the down migrations that the history has, by position; tables of an earlier version have none."""
        if not rows:
            return {}
        positions = ", ".join(str(row.position) for row in rows)
        found = self._connection.rows(
            f"SELECT \"position\", pg_catalog.to_jsonb(h) ->> 'down_sql' FROM {SCHEMA}.history h "
            f'WHERE "position" IN ({positions})'
        )
        return {position: text for position, text in found if text is not None}

    @staticmethod
    def goal_note(steps: int, goal: int) -> str:
        """Return what ends the message of a rollback by steps until its caller has heard of its success.

        So one that is asked for again goes no further.
        """
        return f"{steps} step{'s' * (steps > 1)} back, to position {goal}"

    def unheard(self, steps: int) -> UnheardRollback | None:
        """Return the last rollback, if it was one of so many steps, and its caller has not heard of its success.

        It counts, whenever that was, until a migration has been applied since: what runs have done to users, to
        repeatable files, or to the history by repair, is no other direction.
        """
        found = self._connection.rows(
            "SELECT id, message, pg_catalog.to_jsonb(r) -> 'removed' "
            f"FROM {SCHEMA}.runs r WHERE id = (SELECT pg_catalog.max(id) FROM {SCHEMA}.runs "
            "WHERE action = 'rollback') AND NOT EXISTS (SELECT FROM "
            f"{SCHEMA}.history h WHERE h.run_id > r.id AND NOT pg_catalog.starts_with(h.name, '{REPEATABLE}'))"
        )
        goal = _GOAL.search(found[0][1]) if found else None
        if goal is None or int(goal[1]) != steps:
            return None
        run_id, _, removed = found[0]
        return UnheardRollback(run_id, int(goal[2]), tuple(removed or ()))

    def acknowledge(self, run_id: int) -> None:
        """Record that the caller has heard of the success of a rollback, so that the same request is another one."""
        found = self._connection.rows(
            f"SELECT message FROM {SCHEMA}.runs WHERE id = {run_id} AND action = 'rollback' AND outcome = 'succeeded'"
        )
        if found and (goal := _GOAL.search(found[0][0])):
            rest = self._connection.literal(found[0][0][: goal.start()])
            self._connection.run(f"UPDATE {SCHEMA}.runs SET message = {rest} WHERE id = {run_id}")

    def is_done_already(self, request_id: str) -> bool:
        """Return whether a rollback has succeeded since this session began, or one by this very request.

        Lambda repeats an invocation under its id. What stands for the id elsewhere, a process, may come again.
        """
        same = self._connection.literal(request_id) if _OF_LAMBDA.fullmatch(request_id) else "NULL"
        query = (
            f"SELECT id FROM {SCHEMA}.runs WHERE id = (SELECT pg_catalog.max(id) FROM {SCHEMA}.runs "
            "WHERE action NOT IN ('rotate', 'repair')) AND action = 'rollback' AND outcome = 'succeeded' "
            f"AND (request_id = {same} OR finished_at > ("
            "SELECT backend_start FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()))"
        )
        return bool(self._connection.rows(query))


class RollbackRecord(Record):
    """The row of a migration that is rolled back: it goes with what the migration had made."""

    def __init__(self, row: Recorded, run_id: int) -> None:
        super().__init__(row.name)
        self._position = row.position
        self._number = row.number
        self._run_id = run_id

    def sql(self, connection: Connection) -> str:
        """Return the statements that remove the row, and fail where it is gone or another has the run lock."""
        kept = History(connection).removal_sql({self.name: self._number})
        return f"{_removal(connection, self._position)}; {_REPEAT}; {kept}"

    def open(self, connection: Connection) -> StepProgress:
        """Mark the row as being rolled back, or find how far an earlier run has come."""
        continued = "CASE WHEN h.state OPERATOR(pg_catalog.=) 'reverting' THEN h.{0} ELSE {1} END"
        starts = ("0", "''", "0", "''", "NULL")
        values = dict(zip(StepProgress._fields, starts, strict=True))
        progress = ", ".join(f"{name} = {continued.format(name, start)}" for name, start in values.items())
        found = connection.rows(
            f"UPDATE {SCHEMA}.history h SET state = CASE WHEN {connection.holds_run_lock} THEN 'reverting' END, "
            f'run_id = {self._run_id}, {progress} WHERE h."position" OPERATOR(pg_catalog.=) {self._position} '
            f"RETURNING {', '.join(values)}"
        )
        if not found:
            raise RunLockLost(f"another runner has rolled back {self.name} meanwhile", fix="run it again")
        return StepProgress._make(found[0])

    def close(self, connection: Connection) -> None:
        """Remove the row of a migration whose down migration was stepwise."""
        connection.run(f"{BEGIN}; {AS_OWNER}{self.sql(connection)}; COMMIT")


def _removal(connection: Connection, position: int) -> str:
    """Return the statement that removes a row, and fails where it is gone or another has the run lock."""
    removal = f'DELETE FROM {SCHEMA}.history WHERE "position" OPERATOR(pg_catalog.=) {position}'
    return refused_by_fence(removal, f"NOT EXISTS (SELECT FROM changed) OR NOT {connection.holds_run_lock}")
