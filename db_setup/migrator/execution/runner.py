"""The runner: applies one migration after another, each exactly once, and records it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from psycopg2 import errorcodes

from migrator.database import TRANSIENT, Connection, lock_lost, migration_error
from migrator.errors import (
    ConnectionLost,
    DbSetupError,
    DeadlineReached,
    HistoryChanged,
    LockTimeout,
    LostSession,
    Progress,
    RunInterrupted,
    ServerError,
    StepUndecided,
)
from migrator.events import Listener
from migrator.execution.stepwise import NEEDS_NO_TRANSACTION, StepwiseRun
from migrator.execution.supervision import Attempt, Supervision, out_of_time
from migrator.execution.transaction import RunStatement, Transaction
from migrator.history import ApplyRecord, Assertion, Record, RunLock
from migrator.planning import Pending
from migrator.report import ReportedMigration
from migrator.scripts import PLAIN_OPENING, STEPWISE, Script
from migrator.sql import Statement

if TYPE_CHECKING:
    from migrator.execution.fence import FileFence
    from migrator.history import Fence, History

_WANTS_STEPS = frozenset({*NEEDS_NO_TRANSACTION, errorcodes.UNSAFE_NEW_ENUM_VALUE_USAGE})
_PENDING_EVENTS = "pending trigger events"  # deferred checks of earlier statements, which a COMMIT would settle
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds between attempts to get a lock
_MAX_ATTEMPTS_WITHOUT_LOCK = 5  # for deadlocks and the like, which more patience does not help
_PROGRESS_EVERY = 2.0  # seconds


class Trace(Protocol):
    """Runs the statements of transactional files in a way of its own, to learn what they lock."""

    def begin_file(self, migration: str, /) -> None:
        """Take what follows for another file, in a transaction that is not open yet."""

    def run(self, connection: Connection, statement: Statement, /) -> None:
        """Run a statement."""

    def end_file(self) -> None:
        """Keep what was learned of the file: it is committed."""


class Work(NamedTuple):
    """A file that is to be run: what the plan says of it, its statements, how it is recorded, and its fence if any."""

    pending: Pending
    script: Script
    record: Record
    fence: Fence | None = None

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.script.migration.name


def work_of(connection: Connection, pending: Pending, script: Script, run_id: int, history: History) -> Work:
    """Return the work of applying a pending file in a run that the history has begun."""
    record = ApplyRecord(pending.row, script.mode, run_id, history.next_position(), script.down)
    fence = history.fence
    if fence is not None:
        from migrator.execution.fence import FileFence  # noqa: PLC0415 - for databases that were adopted

        fence = fence if FileFence.holds(connection, fence, pending, script) else None
    return Work(pending, script, record, fence)


class Runner:
    """Applies migrations in a supervised run, under the run lock.

    ``applied`` has what was applied so far, beginning with what earlier connections of the same run have applied.
    """

    def __init__(
        self, run: Supervision, listen: Listener, *, untracked: bool = False,
        before: Sequence[ReportedMigration] = (), trace: Trace | None = None,
    ) -> None:  # fmt: skip
        self._run = run
        self._connection = run.connection
        self._listen = listen
        self._untracked = untracked
        self._trace = trace
        self._steps: StepwiseRun | None = None  # of the file at work, once it runs step by step
        self._reported = 0.0
        self._begun = "", 0.0  # the file at work, and when it was
        self._assertion = Assertion(run.connection)
        self._prepared = self._new_defaults = False
        self._reading: tuple[bool, str] | None = None  # how a new session reads text
        self.applied = list(before)
        self.warnings: list[str] = []

    def apply_all(self, work: Sequence[Work]) -> None:
        """Apply the migrations in order; raises at the first that fails, with what was applied before it."""
        for position, item in enumerate(work):
            self._steps = None
            try:
                self._run.deadline.check()
                self._apply(item)
            except DbSetupError as error:
                raise self._failed(error, work[position:]) from error

    def _apply(self, item: Work) -> None:
        name, script = item.name, item.script
        started = self._reported = time.monotonic()
        self._begun = name, started
        self._listen("migration.started", {"migration": name, "number": item.pending.number, "mode": script.mode})
        mode = self._patiently(item)
        done = ReportedMigration(item.pending.number, name, mode, int((time.monotonic() - started) * 1000))
        self.applied.append(done)
        self._run.durations[name] = done.duration_ms or 0
        self._prepared &= not script.sets_session
        self._new_defaults |= script.sets_defaults
        for notice in self._connection.take_notices():
            self._listen("migration.notice", {"migration": name, "notice": notice})
        self._listen("migration.applied", {"migration": name, **done._asdict()})

    def _patiently(self, item: Work) -> str:
        """Run a file, again when it met another session's lock; return the mode it ran in."""
        pause, attempt = _FIRST_PAUSE, 1
        stepwise = item.script.mode == STEPWISE or item.pending.resumed
        while True:
            try:
                return self._attempt(item, stepwise=stepwise, careful=attempt > 1 or self._ran_out(item.name))
            except ServerError as error:
                waits = error.sqlstate == errorcodes.LOCK_NOT_AVAILABLE or attempt < _MAX_ATTEMPTS_WITHOUT_LOCK
                passes = error.sqlstate in TRANSIENT and not Record.is_fence(error)
                if not passes or not waits or self._run.is_over(error):
                    raise
                self._listen("migration.blocked", {"migration": item.name, "attempt": attempt})
                self._run.watch_blockers()
                if not self._run.deadline.pause(pause, self._connection.lock_timeout):
                    raise
                pause, attempt = min(pause * 2, _LONGEST_PAUSE), attempt + 1
            finally:
                stepwise = stepwise or self._steps is not None  # its steps are committed
                self._connection.rollback()

    def _ran_out(self, name: str) -> bool:
        """Return whether the last run ended in a file for want of time.

        Then each statement is sent by itself, so that this run can say which one it is.
        """
        return bool(self._run.earlier) and self._run.earlier[0].startswith(f"{name}:")

    def _attempt(self, item: Work, *, stepwise: bool, careful: bool) -> str:
        if not stepwise:
            try:
                self._in_transaction(item, careful=careful)
            except ServerError as error:
                if not needs_steps(error, item.script):
                    raise
                self._connection.require_session(f"{item.name} ({error.message})")
            else:
                return item.script.mode
        # Also where the server has asked for steps: nothing was committed, so the file starts again.
        # One that is tried again goes on in the session it has.
        if self._steps is None:
            self._begin_session()
            if item.script.mode != STEPWISE and not item.pending.resumed:
                self._refuse_needs(item.script)
            self._steps = StepwiseRun(
                self._connection, item.script, item.record, self._progress, self._warn, self._pause, self._assertion,
                self._fence(item),
            )  # fmt: skip
        self._steps.apply()
        return STEPWISE

    def _refuse_needs(self, script: Script) -> None:
        """Refuse a file that only the server has found to need steps, if no other run could go on with them."""
        from migrator.scripts.session_needs import refuse_needs  # noqa: PLC0415 - for few files

        for text in refuse_needs(script).warnings[len(script.warnings) :]:
            self._warn(text)

    def _in_transaction(self, item: Work, *, careful: bool) -> None:
        connection, script = self._connection, item.script
        fence = self._fence(item)
        keeps = fence is not None and fence.keeps(script)
        opening = f"{self._opening(script)}\n{self._record_sql(item.record)};"
        run_statement: RunStatement | None = None
        if self._trace is not None:
            self._trace.begin_file(item.name)
            run_statement = self._trace.run
        if keeps and fence is not None:
            run_statement = partial(fence.run, run=run_statement) if run_statement else fence.run
        transaction = Transaction(
            connection, self._progress, self._may_replay, self._assertion, careful=careful, run=run_statement
        )
        transaction.prepared, self._prepared = self._prepared, False
        checks: list[Callable[[], None]] = []
        if script.check is not None:
            from migrator.execution.checks import check_within  # noqa: PLC0415 - for files that have one

            checks.append(partial(check_within, connection, script.check))
        if fence is not None:
            checks.append(partial(fence.check_end, script.body()))
            opening += f"\n{fence.before};"
        before_end = partial(_all, checks) if checks else None
        transaction.execute(opening, script.body(), self._closing, before_end)
        self._prepared = transaction.prepared
        if self._trace is not None:
            self._trace.end_file()

    def _record_sql(self, record: Record) -> str:
        shared = self._connection.shares_sessions
        return record.sql(self._connection) if shared else record.prepared_sql(self._connection)

    def _closing(self) -> str:
        """Return what commits a file; what it leaves in a session that is not ours goes in the same message."""
        return f"COMMIT; {self._connection.reset_sql()}" if self._connection.shares_sessions else "COMMIT"

    def _fence(self, item: Work) -> FileFence | None:
        if item.fence is None:
            return None
        from migrator.execution.fence import FileFence  # noqa: PLC0415 - for databases that were adopted

        return FileFence(self._connection, item.fence, item.name)

    def _opening(self, script: Script) -> str:
        """Return what opens the transaction of a file, in a session like a new one.

        The reset travels with the file where it can: the server reads a whole message by the rules that hold before it,
        so these have to be those of a new session; and what a transaction is, it is from the first statement of its
        message on, so that one has to say it.
        """
        connection = self._connection
        like_new = self._prepared and not self._new_defaults and self._reading_now == self._reading
        if like_new and script.opening == PLAIN_OPENING:
            return f"BEGIN {self._assertion.characteristics}; {connection.reset_sql(keep_prepared=True)};"
        self._begin_session()
        if connection.shares_sessions:
            reset = f"BEGIN; {connection.reset_sql()}{self._defaults}; COMMIT;"
            return f"{reset} {script.opening} {connection.settings_sql()}; {RunLock.ROW_SQL}"
        self._prepared = True
        return f"{script.opening} {self._assertion.prepare};"

    @property
    def _defaults(self) -> str:
        """What gives a session the defaults that a file has changed."""
        return f"; {self._connection.DEFAULTS_SQL}" if self._new_defaults else ""

    @property
    def _reading_now(self) -> tuple[bool, str]:
        return self._connection.standard_strings, self._connection.encoding

    def _begin_session(self) -> None:
        """Make the session like a new one, in a message of its own."""
        self._assertion.learn(f"{self._connection.reset_sql()}{self._defaults};")
        self._prepared, self._reading = False, self._reading_now

    def _may_replay(self, error: ServerError, seconds: float) -> bool:
        """Return whether sending a message again in pieces is of use: not if others are the cause, or time is short."""
        passing = error.sqlstate in TRANSIENT or error.sqlstate in _WANTS_STEPS
        if passing or error.sqlstate == errorcodes.QUERY_CANCELED:
            return False
        return seconds * 1.5 < self._run.deadline.remaining()

    def _failed(self, error: DbSetupError, left: Sequence[Work]) -> DbSetupError:
        """Return the error of the whole run for one that a file has ended with: the only place that decides it."""
        name, lost = left[0].name, isinstance(error, ConnectionLost)
        unknown = lost and (self._steps is None or self._steps.is_closing)
        progress, need = Progress(tuple(item.name for item in self.applied), name, unknown=unknown), None
        if steps := self._steps:
            progress = progress._replace(steps=steps.steps_done, resumes=steps.resumes, in_doubt=steps.in_doubt)
            need = None if isinstance(error, LostSession) else steps.need_of_rest()
        if (over := self._over(error)) is not None:
            error = self._out_of_time(over, error, progress, doubtful=lost or progress.in_doubt)
            if progress.in_doubt:
                error = error.replace(fix=StepUndecided.FIX)
            progress = progress._replace(left=tuple(item.name for item in left))
        else:
            error = self._for_people(error, name)
        if need is not None:
            progress = progress._replace(resumes=f"{progress.resumes}, and cannot pass line {need.statement.line}")
            error = error.replace(fix=f"{error.fix}; before you run it again, {need.way_out}")
        if lost and self._steps is not None and not unknown:  # the answer to its COMMIT may be what was lost
            progress = progress._replace(in_doubt=True)
        return error.after(progress)

    def _over(self, error: DbSetupError) -> DeadlineReached | RunInterrupted | None:
        """Return the error of a run that is over, None for another error."""
        found = self._run.reason() if self._run.is_over(error) else error
        return found if isinstance(found, DeadlineReached | RunInterrupted) else None

    def _out_of_time(
        self, over: DeadlineReached | RunInterrupted, error: DbSetupError, progress: Progress, *, doubtful: bool
    ) -> DbSetupError:
        if progress.failed != self._begun[0]:  # its time was over before it began
            return over
        seconds = time.monotonic() - self._begun[1]
        attempt = Attempt(progress.failed, seconds, self._steps is not None, doubtful, self._run.earlier)
        return out_of_time(over, error, self._run.deadline, attempt)

    def _for_people(self, error: DbSetupError, name: str) -> DbSetupError:
        """Return the error of a file in the terms of its author."""
        if isinstance(error, ServerError):
            error = lock_lost(name) if Record.is_fence(error) else migration_error(error, name, self._untracked)
        if isinstance(error, HistoryChanged) and error.where is None:
            error = error.replace(what=f"{name}: {error.what}")
        if error.where is not None and not error.where.file:
            error = error.replace(where=error.where._replace(file=name))
        if isinstance(error, LockTimeout):
            error = error.replace(what=error.what + self._run.blocked_by())
        return error

    def _progress(self, statement: Statement) -> None:
        self._run.deadline.check()
        now = time.monotonic()
        if now - self._reported > _PROGRESS_EVERY:
            self._reported = now
            self._listen("migration.progress", {"line": statement.line})

    def _pause(self, seconds: float) -> None:
        if not self._run.deadline.pause(seconds):
            raise self._run.deadline.why_over()

    def _warn(self, text: str) -> None:
        self.warnings.append(text)
        self._listen("migration.warning", {"warning": text})


def _all(checks: Sequence[Callable[[], None]]) -> None:
    for check in checks:
        check()


def needs_steps(error: ServerError, script: Script) -> bool:
    """Return whether an error says that a file cannot run in one transaction, though nothing in its text does.

    One of the file's check does not: then the file is rolled back, and not run step by step.
    """
    if script.check is not None and error.where is not None and error.where.file == script.check.migration.name:
        return False
    return error.sqlstate in _WANTS_STEPS or _PENDING_EVENTS in error.message
