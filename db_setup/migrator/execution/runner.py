"""The runner: applies one migration after another, each exactly once, and records it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from migrator.database.connection import Connection
from migrator.database.deadline import Deadline
from migrator.database.server_errors import LOCK_NOT_AVAILABLE, QUERY_CANCELED, TRANSIENT, lock_lost, migration_error
from migrator.errors import ConnectionLost, DbSetupError, DeadlineReached, LockTimeout, RunError, ServerError
from migrator.events import Listener
from migrator.execution.blockers import Blockers
from migrator.execution.stepwise import NEEDS_NO_TRANSACTION, StepwiseRun
from migrator.execution.transaction import Transaction
from migrator.execution.watchdog import Watchdog
from migrator.formatting import listed
from migrator.history import runs
from migrator.history.records import APPLY, Records
from migrator.planning.plan import Pending
from migrator.scripts import PLAIN_OPENING, STEPWISE, Script
from migrator.sql import Statement

if TYPE_CHECKING:
    from migrator.rehearsal.lock_trace import LockTrace

_WANTS_STEPS = frozenset({*NEEDS_NO_TRANSACTION, "55P04"})  # 55P04: unsafe use of a new enum value
_PENDING_EVENTS = "pending trigger events"  # deferred checks of earlier statements, which a COMMIT would settle
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds between attempts to get a lock
_MAX_ATTEMPTS_WITHOUT_LOCK = 5  # for deadlocks and the like, which more patience does not help
_PROGRESS_EVERY = 2.0  # seconds
_STATEMENT_TIMEOUT_SLACK = 0.25  # seconds: statement_timeout, set to the time left, may be a little early


class Applied(NamedTuple):
    """A migration that this run applied, and how."""

    name: str
    number: str
    mode: str
    duration_ms: int


class _Left(NamedTuple):
    """The migrations from a position on; their names are spelled out only where a run ends early."""

    work: Sequence[tuple[Pending, Script]]
    position: int

    def __str__(self) -> str:
        return listed([item.migration.name for item, _ in self.work[self.position :]])


class Runner:
    """Applies migrations on one connection, under the run lock, within the deadline."""

    def __init__(
        self, connection: Connection, deadline: Deadline, watchdog: Watchdog, blockers: Blockers,
        run_id: int, untracked: bool, listen: Listener, ledger: Records = APPLY,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._deadline = deadline
        self._watchdog = watchdog
        self._blockers = blockers
        self._run_id = run_id
        self._untracked = untracked
        self._listen = listen
        self._ledger = ledger
        self._told = 0.0
        self._reset_apart = False
        self._new_defaults = False
        self.trace: LockTrace | None = None  # watches transactional files, where a lock report is asked for
        self.applied: list[Applied] = []
        self.warnings: list[str] = []

    def apply_all(self, work: Sequence[tuple[Pending, Script]]) -> None:
        """Apply the migrations in order; raises RunError at the first that fails, with what was kept before it."""
        for position, (pending, script) in enumerate(work):
            left = _Left(work, position)
            self._within_time(left)
            name = pending.migration.name
            self._told = time.monotonic()
            self._listen("migration.started", {"migration": name, "number": pending.number, "mode": script.mode})
            started = time.monotonic()
            mode = self._apply(pending, script, left)
            done = Applied(name, pending.number, mode, int((time.monotonic() - started) * 1000))
            self.applied.append(done)
            self._reset_apart = script.sets_session or self._connection.reads_old_strings
            self._new_defaults |= script.sets_defaults
            for notice in self._connection.take_notices():
                self._listen("migration.notice", {"migration": name, "notice": notice})
            self._listen("migration.applied", {"migration": name, **done._asdict()})

    def _within_time(self, left: _Left) -> None:
        try:
            self._deadline.check()
        except DeadlineReached as error:
            error.applied = self._kept_so_far(left)
            raise

    def _apply(self, pending: Pending, script: Script, left: _Left) -> str:
        """Apply one migration, again when it met somebody else's lock; return the mode it ran in."""
        pause, attempt = _FIRST_PAUSE, 1
        stepwise = script.mode == STEPWISE or pending.resumed
        while True:
            run = StepwiseRun(self._connection, script, self._progress, self._warn, self._ledger)
            try:
                return self._attempt(pending, script, run, careful=attempt > 1, stepwise=stepwise)
            except ConnectionLost as error:
                self._raise_if_over(error, left)
                raise
            except ServerError as error:
                self._raise_if_over(error, left)
                limited = error.sqlstate != LOCK_NOT_AVAILABLE and attempt >= _MAX_ATTEMPTS_WITHOUT_LOCK
                if error.sqlstate not in TRANSIENT or limited:
                    raise self._failure(error, pending, run) from error
                self._listen("migration.blocked", {"migration": pending.migration.name, "attempt": attempt})
                self._blockers.watch(self._connection.pid)
                if not self._deadline.pause(pause, self._connection.lock_timeout + _STATEMENT_TIMEOUT_SLACK):
                    raise self._failure(error, pending, run) from error
                pause, attempt = min(pause * 2, _LONGEST_PAUSE), attempt + 1
            except RunError as error:
                error.applied = error.applied or self._kept(pending, run)
                raise
            finally:
                stepwise = stepwise or run.begun  # its steps are kept, and are no matter of a transaction any more
                self._connection.rollback()

    def _attempt(
        self, pending: Pending, script: Script, run: StepwiseRun, *, careful: bool, stepwise: bool
    ) -> str:  # fmt: skip
        if not stepwise:
            try:
                self._in_transaction(pending, script, careful=careful)
            except ServerError as error:
                if not needs_steps(error) or is_of_the_check(error, script):
                    raise
                stepwise = True  # the server knows better; nothing was kept, so the file starts again
        if stepwise:
            self._connection.run(self._reset_sql())
            run.apply(self._ledger.open(self._connection, pending, script, self._run_id))
            return STEPWISE
        return script.mode

    def _in_transaction(self, pending: Pending, script: Script, *, careful: bool) -> None:
        connection = self._connection
        record = self._ledger.record_sql(connection, pending, script, self._run_id)
        reset = self._reset_sql()
        if self._reset_apart or self._new_defaults or script.opening != PLAIN_OPENING:
            # The server reads a whole message by the rules that hold before it, and wants the characteristics of a
            # transaction before the first statement.
            connection.run(reset)
            reset = ""
        opening = f"{reset}\n{script.opening}\n{record};"
        run = None
        if self.trace is not None:
            self.trace.expect(pending.migration.name)
            run = self.trace.run
        transaction = Transaction(connection, self._progress, self._may_replay, careful=careful, run=run)
        transaction.execute(opening, script.body(), lambda: "COMMIT", self._check(script))
        if self.trace is not None:
            self.trace.keep()

    def _reset_sql(self) -> str:
        defaults = f"; {runs.DEFAULTS_SQL}" if self._new_defaults else ""
        return f"{self._connection.reset_sql()}{defaults};"

    def _may_replay(self, error: ServerError, seconds: float) -> bool:
        """Tell whether sending a message again in pieces is of use: not if others are the cause, or time is short."""
        passing = error.sqlstate in TRANSIENT or error.sqlstate in _WANTS_STEPS or error.sqlstate == QUERY_CANCELED
        return not passing and seconds * 1.5 < self._deadline.remaining()

    def _check(self, script: Script) -> Callable[[], None] | None:
        """Return what asks the file's questions before its transaction is committed."""
        if script.check is None:
            return None
        from migrator.execution.checks import check_within  # noqa: PLC0415 - for files that have one

        return partial(check_within, self._connection, script.check)

    def _raise_if_over(self, error: ServerError | ConnectionLost, left: _Left) -> None:
        """Turn a statement that was ended because the time is over into the error that says so."""
        cancelled = isinstance(error, ServerError) and error.sqlstate == QUERY_CANCELED
        timed_out = cancelled and self._deadline.remaining() < _STATEMENT_TIMEOUT_SLACK
        if timed_out or (self._watchdog.fired and (cancelled or isinstance(error, ConnectionLost))):
            over = self._watchdog.reason()
            over.what += self._blockers.names()
            over.applied = self._kept_so_far(left)
            raise over from error

    def _failure(self, error: ServerError, pending: Pending, run: StepwiseRun) -> DbSetupError:
        name = pending.migration.name
        if runs.lock_was_lost(error):
            return lock_lost(name)
        failure = migration_error(error, name, self._kept(pending, run), untracked=self._untracked)
        if isinstance(failure, LockTimeout):
            failure.what += self._blockers.names()
        return failure

    def _kept(self, pending: Pending, run: StepwiseRun) -> str:
        before = listed([item.name for item in self.applied])
        kept = f"{before} (applied before in this run); " if before else ""
        if not run.steps_done:
            return f"{kept}nothing of {pending.migration.name}"
        steps = f"{run.steps_done} step{'s' * (run.steps_done > 1)}"
        then = "asks the check again" if run.at_check else f"goes on at line {run.next_line}"
        return f"{kept}{steps} of {pending.migration.name}, recorded; a re-run {then}"

    def _kept_so_far(self, left: _Left) -> str:
        done = listed([item.name for item in self.applied]) or "nothing"
        return f"{done} (applied in this run); left: {left}"

    def _progress(self, statement: Statement) -> None:
        self._deadline.check()
        now = time.monotonic()
        if now - self._told > _PROGRESS_EVERY:
            self._told = now
            self._listen("migration.progress", {"line": statement.line})

    def _warn(self, text: str) -> None:
        self.warnings.append(text)
        self._listen("migration.warning", {"warning": text})


def is_of_the_check(error: ServerError, script: Script) -> bool:
    """Tell whether an error is that of the check: then the file goes back, and is not kept step by step."""
    return script.check is not None and error.where is not None and error.where.file == script.check.migration.name


def needs_steps(error: ServerError) -> bool:
    """Tell whether an error says that a file cannot run in one transaction, though nothing in its text does."""
    return error.sqlstate in _WANTS_STEPS or _PENDING_EVENTS in error.message
