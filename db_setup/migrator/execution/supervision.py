"""Supervision: what a run has around it, from the run lock to the record of its end.

A signal ends the time of the run, and so what it waits for. A lost connection is followed by another one, since the
history says how far the run has come.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING

from migrator.context import RunContext
from migrator.database import TRANSIENT, Connection, Deadline
from migrator.errors import ConnectionLost, DbSetupError, RunLockTimeout, ServerAway
from migrator.history import History, RunLock
from migrator.report import Report

if TYPE_CHECKING:
    from migrator.execution.blockers import Blockers

_TO_RECORD_THE_END = 10.0  # seconds, beyond the run's own time

RecordEnd = Callable[[str, str], None]
"""Records the end of a run: its outcome and a message."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_INTERRUPTIONS = (bytes([signal.SIGINT]), bytes([signal.SIGTERM]))
_RECONNECTIONS = 5
_PAUSE = 0.5  # seconds before a lost connection is followed by another


class Supervision:
    """A run on one connection: its deadline, who blocks it, and its row in ``runs`` once it has begun."""

    def __init__(self, context: RunContext, connection: Connection, deadline: Deadline) -> None:
        self.connection = connection
        self.deadline = deadline
        self.history = History(connection)
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

            self._blockers = Blockers(self._context.connect, self.connection.pid)

    def blocked_by(self) -> str:
        """Return who was seen blocking, for people; empty when nobody was."""
        return "" if self._blockers is None else self._blockers.names()

    def close(self) -> None:
        """Stop sampling."""
        if self._blockers is not None:
            self._blockers.close()

    def is_over(self, error: DbSetupError) -> bool:
        """Return whether an error says no more than that the time is over, or that the run was interrupted."""
        if self.deadline.interrupted and (isinstance(error, RunLockTimeout) or error.sqlstate in TRANSIENT):
            return True  # it would have waited longer
        return self.deadline.has_led_to(error)

    def reason(self) -> DbSetupError:
        """Return the error that says why the run was ended, and who blocked it."""
        over = self.deadline.why_over()
        return over.replace(what=over.what + self.blocked_by())

    def end(self, outcome: str, message: str) -> None:
        """Record how the run ended; what matters is recorded already, so a failure here is only reported."""
        if self._record_end is None:
            return
        try:
            with self.connection.watched(Deadline(_TO_RECORD_THE_END)):
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
    """Supervise a run: no message outlasts the deadline (the context's, or an earlier one), none outlives Ctrl-C.

    A run that ``begin`` has recorded gets its end recorded, however it ends; only that of a lost connection cannot be,
    and stays "running". Raises DeadlineReached or RunInterrupted in place of the error that this has led to.
    """
    context.has_supervised = True
    run = Supervision(context, connection, deadline or context.deadline)
    signals = _Signals(context.deadline)
    with signals.taken():  # to the record of the end, which they do not interrupt
        try:
            with signals.listening(), connection.watched(deadline) if deadline else nullcontext():
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
    if not context.deadline.pause(_PAUSE):
        return None
    try:
        return context.connect(patience=context.deadline.patience())
    except ServerAway:
        return None


class _Signals:
    """SIGINT and SIGTERM, which end the time of a run and do nothing else, where the main thread makes it."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._taken = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the signals while the block runs; those that come when nobody is ``listening`` are let go."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._taken, earlier = True, signal.set_wakeup_fd(-1)
        handlers = {number: signal.signal(number, _let_go) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(earlier)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Have a signal end the time while the block runs: the interpreter writes it, even while the driver waits."""
        if not self._taken:
            yield
            return
        heard, written = socket.socketpair()
        written.setblocking(False)
        signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
        thread = threading.Thread(target=self._listen, args=(heard,), name="db_setup signals", daemon=True)
        thread.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            written.close()
            thread.join()
            heard.close()

    def _listen(self, heard: socket.socket) -> None:
        while number := heard.recv(1):
            if number in _INTERRUPTIONS:
                self._deadline.interrupt()


def _let_go(_number: int, _frame: object) -> None:
    """Take a signal and do nothing."""
