"""Supervision: what watches over a run, from its first message to the record of its end, and brings it back.

The driver waits inside C code, where neither a deadline nor a signal reaches the main thread: a watchdog, a thread of
its own, ends what the main thread waits for. A lost connection is followed by another one, since the history says how
far the run has come.
"""

from __future__ import annotations

import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from psycopg2 import errorcodes

from migrator.context import RunContext
from migrator.database import TRANSIENT, Connection, Deadline
from migrator.errors import ConnectionLost, DbSetupError, RunLockTimeout, ServerError, ServerUnfit
from migrator.history import History, RunLock
from migrator.report import Report

if TYPE_CHECKING:
    from migrator.execution.blockers import Blockers

STATEMENT_TIMEOUT_SLACK = 0.25  # seconds: statement_timeout, set to the time left, may be a little early
_TO_RECORD_THE_END = 10.0  # seconds, beyond the run's own time

RecordEnd = Callable[[str, str], None]
"""Records the end of a run: its outcome and a message."""
_SECOND_CANCEL = 2.0  # seconds; user SQL can swallow a cancel
_LONGEST_WAIT = 3600.0  # seconds
_STOP = b"\x00"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_INTERRUPTIONS = (bytes([signal.SIGINT]), bytes([signal.SIGTERM]))
_RECONNECTIONS = 5
_FIRST_PAUSE = 0.5  # seconds, growing


class Supervision:
    """A run on one connection: its watchdog, who blocks it, and its row in ``runs`` once it has begun."""

    def __init__(self, context: RunContext, connection: Connection, deadline: Deadline) -> None:
        self.connection = connection
        self.deadline = deadline
        self.history = History(connection)
        self.watchdog = Watchdog(connection, deadline)
        self._blockers: Blockers | None = None
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

    def lock(self) -> bool:
        """Take the run lock; return whether it had to be waited for. Raises RunLockTimeout, which names the holder."""
        return RunLock.acquire(
            self.connection, self.deadline, lambda holder: self._context.listen("lock.waiting", {"holder": holder})
        )

    def begin(self, action: str, message: str = "") -> int:
        """Record that the run has begun; its end is recorded, too, and seals the history."""
        self.run_id = self.history.begin_run(action, self._context.request_id, message)
        self._context.warnings += self.history.warnings
        self.record_end_with(lambda outcome, text: self.history.end_run(self.run_id, outcome, text, self.durations))
        return self.run_id

    def record_end_with(self, record_end: RecordEnd) -> None:
        """Choose how the end is recorded, of a run that has a row already."""
        self._record_end = record_end

    def watch_blockers(self) -> None:
        """Begin to sample who blocks the session, on another one; a second call changes nothing."""
        if self._blockers is None:
            from migrator.execution.blockers import Blockers  # noqa: PLC0415 - for runs that meet a lock

            self._blockers = Blockers(self._context.connect)
            self._blockers.watch(self.connection.pid)

    def blocked_by(self) -> str:
        """Return who was seen blocking, for people; empty when nobody was."""
        return "" if self._blockers is None else self._blockers.names()

    def close(self) -> None:
        """Stop sampling."""
        if self._blockers is not None:
            self._blockers.close()

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
        over = self.deadline.why_over()
        return over.replace(what=over.what + self.blocked_by())

    def end(self, outcome: str, message: str) -> None:
        """Record how the run ended; what matters is recorded already, so a failure here is only reported."""
        if self._record_end is None:
            return
        watchdog = Watchdog(self.connection, Deadline(_TO_RECORD_THE_END))
        try:
            with watchdog.watching():
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
            run.close()
        run.end("succeeded", run.message)


def retry_on_lost_connection(
    context: RunContext, work: Callable[[Connection], Report], first: Connection | None = None
) -> Report:
    """Do the work on one connection after another until it ends, on the ``first`` if one is open already.

    Each is closed before the next is opened, or its session would keep the run lock. Raises ConnectionLost when there
    is no other.
    """
    connection = first or context.connect()
    for _ in range(_RECONNECTIONS):
        try:
            with closing(connection):
                return work(connection)
        except ConnectionLost:
            another = _reconnected(context)
            if another is None:
                raise
            connection = another
    with closing(connection):
        return work(connection)


def _reconnected(context: RunContext) -> Connection | None:
    """Return a new connection, as soon as the server takes one, within the time of the run."""
    context.deadline.check()
    pause = _FIRST_PAUSE
    while context.deadline.pause(pause):
        try:
            return context.connect()
        except ServerUnfit:
            pause *= 2
    return None


class Watchdog:
    """Cancels the session's statement at the deadline, again 2 s later, then cuts the connection."""

    def __init__(self, connection: Connection, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self.fired = False
        self._takes_signals = False

    @contextmanager
    def taking_signals(self) -> Iterator[None]:
        """Have SIGINT and SIGTERM interrupt the run, and nothing else, while the block runs in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._takes_signals, earlier = True, signal.set_wakeup_fd(-1)
        handlers = {number: signal.signal(number, self._interrupt) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(earlier)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the block runs; a signal that this watchdog takes ends what the block waits for."""
        self._stop, self._wake = socket.socketpair()
        if self._takes_signals:  # the interpreter writes their numbers, even while the driver waits
            self._stop.setblocking(False)
            signal.set_wakeup_fd(self._stop.fileno(), warn_on_full_buffer=False)
        thread = threading.Thread(target=self._watch, name="db_setup watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.send(_STOP)
            thread.join()
            if self._takes_signals:
                signal.set_wakeup_fd(-1)
            self._stop.close()
            self._wake.close()

    def _interrupt(self, _number: int, _frame: object) -> None:
        self._deadline.interrupt()

    def _watch(self) -> None:
        while self._deadline.remaining() > 0:
            byte = self._heard(min(self._deadline.remaining(), _LONGEST_WAIT))
            if byte == _STOP:
                return
            if byte in _INTERRUPTIONS:
                self._deadline.interrupt()
        self._end()

    def _end(self) -> None:
        self.fired = True
        with suppress(ConnectionLost):
            for _ in range(2):
                self._connection.cancel()
                heard = self._heard(_SECOND_CANCEL)
                if heard == _STOP:
                    return
                if heard:  # interrupted once more
                    break
            self._connection.abort()

    def _heard(self, seconds: float) -> bytes:
        """Return the next byte: the order to stop, or a signal's number; nothing when the time is over."""
        ready, _, _ = select.select([self._wake], [], [], seconds)
        return self._wake.recv(1) if ready else b""
