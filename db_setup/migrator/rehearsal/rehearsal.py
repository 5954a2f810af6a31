"""The rehearsal: runs the statements of pending files in one transaction that is always rolled back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from psycopg2 import errorcodes

from migrator.database import TRANSIENT, migration_error
from migrator.errors import ConnectionLost, Progress, RunError, ServerError
from migrator.events import Listener
from migrator.execution import Supervision, needs_steps
from migrator.formatting import listed
from migrator.history import Assertion, RunLock
from migrator.planning import Pending
from migrator.rehearsal.lock_report import MET_A_LOCK, OUT_OF_TIME, statement_locks
from migrator.rehearsal.lock_trace import LockTrace
from migrator.scripts import PLAIN_OPENING, STEPWISE, Script, place
from migrator.sql import Statement, first_code
from migrator.sql.effects import acts_outside, notifies

if TYPE_CHECKING:
    from migrator.execution import FileFence
    from migrator.history import Fence

_NOTHING_KEPT = "nothing: a rehearsal is rolled back"
_SLACK = 0.05  # seconds
_DEFERRABLE = """SELECT pg_catalog.format('%I.%I', n.nspname, c.conname), pg_catalog.bool_or(c.condeferred)
        AND pg_catalog.bool_and(c.condeferrable)
    FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.connamespace
    WHERE c.conname OPERATOR(pg_catalog.=) ANY (SELECT conname FROM pg_catalog.pg_constraint WHERE condeferrable)
    GROUP BY 1 HAVING pg_catalog.bool_or(c.condeferrable)"""

Work = Sequence[tuple[Pending, Script]]


class Ending(NamedTuple):
    """Why a rehearsal ended before its last statement: a problem it met, or what no rehearsal can do."""

    problem: str = ""
    not_rehearsed: str = ""


class Rehearsal:
    """Runs the files on one session; ``ending`` is why it ended before the last statement, if it did."""

    def __init__(
        self, supervision: Supervision, listen: Listener, *, untracked: bool, fence: Fence | None = None
    ) -> None:
        self._supervision = supervision
        self._connection = supervision.connection
        self._deadline = supervision.deadline
        self._listen = listen
        self._untracked = untracked
        self._fence = fence
        self._statement: Statement | None = None  # the one that runs now
        self._started = 0.0
        self._notifies = False
        self._same_locks = False  # no deferred constraint was checked since the last statement
        self._assertion = Assertion(self._connection)
        self.trace = LockTrace(self._connection)
        self.files = 0
        self.ending = Ending()
        self.limits: list[str] = []

    def run(self, work: Work, *, history_exists: bool) -> None:
        """Run all that one transaction can hold; raises the error that migrate would raise. All is rolled back."""
        try:
            self._connection.run(PLAIN_OPENING)
            if not history_exists:
                self._supervision.history.create()  # as migrate would: a right that is missing is found here
            elif RunLock.is_missing(self._connection):
                self._connection.run(RunLock.CREATE_SQL)
            for position, (pending, script) in enumerate(work):
                if pending.resumed or script.mode == STEPWISE:
                    self._stop(work, position, "it runs stepwise, which no transaction can hold")
                else:
                    self._rehearse(work, position)
                    self.trace.end_file()
                if self.ending != Ending():
                    break
                self.files += 1
        finally:
            self._roll_back()
        self._add_limits()

    def _roll_back(self) -> None:
        """Roll back; a session that does not answer is closed, so that the server rolls back."""
        try:
            self._connection.rollback()
        except (ServerError, ConnectionLost):
            self._connection.close()

    def _rehearse(self, work: Work, position: int) -> None:
        pending, script = work[position]
        name = pending.migration.name
        self._listen("migration.started", {"migration": name, "number": pending.number, "mode": script.mode})
        try:
            self._begin_file(script, name)
            fence, before = self._fenced(pending, script)
            for statement in script.body():
                if acts_outside(statement):
                    self._stop(work, position, f"line {statement.line} acts outside the transaction, and would stay")
                    return
                if fence is not None:
                    fence.refuse_kept(statement)
                self._run(statement)
            if script.check is not None and any(map(acts_outside, script.check.read())):
                self._stop(work, position, "its check acts outside the transaction")
                return
            self._check(script)
            self._end_file(script)
            if fence is not None:
                self._statement = None
                fence.check(script.body(), before)
        except (ServerError, ConnectionLost) as error:
            self._end_early(error, work, position)
        except RunError as error:
            where = error.where and error.where._replace(file=error.where.file or name)
            raise error.replace(where=where, applied=_NOTHING_KEPT, progress=Progress(failed=name)) from error.__cause__
        for notice in self._connection.take_notices():
            self._listen("migration.notice", {"migration": name, "notice": notice})

    def _begin_file(self, script: Script, name: str) -> None:
        """Reset the session, as migrate does before a file."""
        self._statement, self._started = None, time.monotonic()
        self._assertion.learn(f"{self._connection.reset_sql()};")
        self._assertion.open()
        if script.opening != PLAIN_OPENING:
            self.limits.append(f"{name}: the isolation level, or the like, that its BEGIN asks for")
        self.trace.begin_file(name, same_locks=self._same_locks)

    def _run(self, statement: Statement) -> None:
        if self._deadline.remaining() == 0.0:
            raise ServerError(errorcodes.QUERY_CANCELED, "the time for the rehearsal is over")
        self._statement, self._started = statement, time.monotonic()
        self._notifies |= notifies(statement)
        self.trace.run(self._connection, statement)
        try:
            self._assertion.examine()
        except RunError as error:
            raise error.replace(where=place(statement, first_code(statement.text))) from None

    def _check(self, script: Script) -> None:
        """Run the file's check, as migrate does before it commits."""
        if script.check is None:
            return
        from migrator.execution import check_within  # noqa: PLC0415 - for files that have one

        self._statement = None
        check_within(self._connection, script.check)

    def _fenced(self, pending: Pending, script: Script) -> tuple[FileFence | None, list[str]]:
        """Return the fence around a file, if any, and what files before it, in the same transaction, have changed."""
        if self._fence is None:
            return None, []
        from migrator.execution import FileFence  # noqa: PLC0415 - for databases that were adopted

        if not FileFence.holds(self._connection, self._fence, pending, script):
            return None, []
        fence = FileFence(self._connection, self._fence, pending.migration.name)
        self._connection.run(fence.before)
        return fence, fence.changes()

    def _end_file(self, script: Script) -> None:
        """Do what COMMIT does about deferred constraints, and let later files find them deferred again.

        By name, since SET CONSTRAINTS ALL would hold for constraints that are yet to come.
        """
        self._statement = None
        deferrable = self._connection.rows(_DEFERRABLE)
        self._same_locks = not deferrable
        deferred = [name for name, initially in deferrable if initially]
        if deferrable:
            self._connection.run(f"SET CONSTRAINTS {', '.join(name for name, _ in deferrable)} IMMEDIATE")
        if deferred:
            self._connection.run(f"SET CONSTRAINTS {', '.join(deferred)} DEFERRED")
        if script.sets_defaults:
            self._connection.run(self._connection.DEFAULTS_SQL)

    def _stop(self, work: Work, position: int, why: str) -> None:
        after = listed([item.migration.name for item, _ in work[position + 1 :]])
        rest = f"; and what comes after it: {after}" if after else ""
        self.ending = Ending(not_rehearsed=f"{work[position][0].migration.name}: {why}{rest}")

    def _end_early(self, error: ServerError | ConnectionLost, work: Work, position: int) -> None:
        """End the rehearsal where it met a limit of rehearsals; raise what migrate would raise, too."""
        name = work[position][0].migration.name
        state = error.sqlstate if isinstance(error, ServerError) else ""
        ended = state == errorcodes.QUERY_CANCELED or isinstance(error, ConnectionLost)
        if ended and self._deadline.remaining() < _SLACK:
            self._refuse_interruption(error)
            self._end_at(name, OUT_OF_TIME, "was at work when the time for a rehearsal was over (REHEARSE_TIMEOUT)")
        elif isinstance(error, ConnectionLost):
            raise error.replace(applied=_NOTHING_KEPT) from error
        elif needs_steps(error, work[position][1]):
            self._stop(work, position, f"{error.message}: migrate commits in between, which a rehearsal cannot")
        elif state in TRANSIENT:
            self._end_at(name, MET_A_LOCK, f"conflicted with another session: {error.message}")
        else:
            failure = migration_error(error, name, self._untracked)
            raise failure.replace(applied=_NOTHING_KEPT, progress=Progress(failed=name)) from error

    def _refuse_interruption(self, error: Exception) -> None:
        if self._deadline.interrupted:
            raise self._supervision.reason().replace(applied=_NOTHING_KEPT) from error

    def _end_at(self, name: str, outcome: str, what: str) -> None:
        where = name
        if self._statement is not None:
            entry = statement_locks(name, self._statement, time.monotonic() - self._started)
            self.trace.add(entry._replace(outcome=outcome))
            where = f"{name}:{entry.line}:{entry.column}"
        self.ending = Ending(problem=f"{where} {what}; the rehearsal ended there")

    def _add_limits(self) -> None:
        """Name what a rehearsal cannot show, or cannot undo."""
        if self.trace.moved_sequences:
            self.limits.append(
                f"sequences have moved, which no rollback undoes: {listed(sorted(self.trace.moved_sequences))}"
            )
        if self._notifies:
            self.limits.append("NOTIFY and LISTEN: only a COMMIT delivers notifications")
        self.limits.append("time under load: these are the times of now, and each lock was held to the end")
