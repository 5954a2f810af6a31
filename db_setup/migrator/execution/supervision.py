"""Supervision: what watches over a run on one connection, from its first message to the record of its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from psycopg2 import errorcodes

from migrator.context import RunContext
from migrator.database import TRANSIENT, Connection, Deadline, why_over
from migrator.errors import ConnectionLost, DbSetupError, RunLockTimeout, ServerError
from migrator.execution.blockers import Blockers
from migrator.execution.watchdog import Watchdog
from migrator.history import History

STATEMENT_TIMEOUT_SLACK = 0.25  # seconds: statement_timeout, set to the time left, may be a little early
_TO_RECORD_THE_END = 10.0  # seconds, beyond the run's own time

RecordEnd = Callable[[str, str], None]
"""Records the end of a run: its outcome and a message."""


class Supervision:
    """A run on one connection: its watchdog, who blocks it, and its row in ``runs`` once it has begun."""

    def __init__(self, context: RunContext, connection: Connection, deadline: Deadline) -> None:
        self.connection = connection
        self.deadline = deadline
        self.history = History(connection)
        self.watchdog = Watchdog(connection, deadline)
        self.blockers = Blockers(context.connect)
        self.run_id = 0
        self.message = ""
        """What is recorded of a run that succeeds."""
        self.failure_note = ""
        """What is recorded after the error of a run that fails."""
        self.durations: dict[str, int] = {}
        """Milliseconds by the name of each migration that was applied."""
        self.after_end: Callable[[], None] | None = None
        """What else is recorded, once the end is."""
        self._context = context
        self._record_end: RecordEnd | None = None

    def begin(self, action: str, message: str = "") -> int:
        """Record that the run has begun; its end is recorded, too, and seals the history."""
        self.run_id = self.history.begin_run(action, self._context.request_id, message)
        return self.record_end_with(
            lambda outcome, text: self.history.end_run(self.run_id, outcome, text, self.durations)
        )

    def record_end_with(self, record_end: RecordEnd) -> int:
        """Choose another way to record the end, of a run that has a row already."""
        self._record_end = record_end
        return self.run_id

    def is_over(self, error: DbSetupError) -> bool:
        """Return whether an error says no more than that the time is over, or that the run was interrupted."""
        cancelled = isinstance(error, ServerError) and error.sqlstate == errorcodes.QUERY_CANCELED
        if cancelled and self.deadline.remaining() < STATEMENT_TIMEOUT_SLACK:
            return True
        if self.deadline.interrupted and (isinstance(error, RunLockTimeout) or error.sqlstate in TRANSIENT):
            return True  # it would have waited longer
        return self.watchdog.fired and (cancelled or isinstance(error, ConnectionLost))

    def reason(self) -> DbSetupError:
        """Return the error that says why the run was ended, and who blocked it."""
        over = why_over(self.deadline)
        return over.replace(what=over.what + self.blockers.names())

    def end(self, outcome: str, message: str) -> None:
        """Record how the run ended; what matters is recorded already, so a failure here is only reported."""
        if self._record_end is None:
            return
        watchdog = Watchdog(self.connection, Deadline(_TO_RECORD_THE_END))
        try:
            with watchdog.watching(interruptible=False):
                self.connection.rollback()
                self.connection.run(self.connection.reset_sql())
                self._record_end(outcome, message)
                if self.after_end is not None:
                    self.after_end()
        except DbSetupError as error:
            self._context.listen("run.unrecorded", {"run": self.run_id, "reason": error.what})


@contextmanager
def supervised(
    context: RunContext, connection: Connection, *, deadline: Deadline | None = None
) -> Iterator[Supervision]:
    """Watch over every message of a run: none outlasts the deadline (the context's), none outlives Ctrl-C.

    A run that ``begin`` has recorded gets its end recorded, however it ends; only that of a lost connection cannot be,
    and stays "running". Raises DeadlineReached or RunInterrupted in place of the error that this has led to.
    """
    run = Supervision(context, connection, deadline or context.deadline)
    with run.watchdog.taking_signals():  # to the record of the end, which they do not interrupt
        try:
            with run.watchdog.watching():
                yield run
        except DbSetupError as error:
            ended = run.reason() if run.is_over(error) else error
            if not isinstance(error, ConnectionLost):
                run.end("failed", f"{ended}\n{run.failure_note}".rstrip())
            raise ended from (error.__cause__ if ended is error else error)
        finally:
            run.blockers.close()
        run.end("succeeded", run.message)
