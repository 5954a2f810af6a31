"""Supervision: what a run has around it, from the run lock to the record of its end.

A signal ends the time of the run, and so what it waits for. A lost connection is followed by another one, since the
history says how far the run has come. A run that is out of time says which statement was at work, without its values.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from migrator.context import RunContext
from migrator.database import TRANSIENT, Connection, Deadline
from migrator.errors import (
    ConnectionLost,
    DbSetupError,
    DeadlineReached,
    RunError,
    RunLockTimeout,
    ServerAway,
    ServerError,
)
from migrator.formatting import AtWork, mask_values
from migrator.history import History, RunLock
from migrator.report import Report
from migrator.scripts import place
from migrator.sql import Statement, first_code

if TYPE_CHECKING:
    from migrator.execution.blockers import Blockers

_MOST_OF_IT = 0.8  # of a run's time: with so much a file had all that another run would give it
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
        self.earlier: list[str] = []
        """What is recorded of the runs of this action before, the last one first, empty for one that had the time."""
        self.durations: dict[str, int] = {}
        """Milliseconds by the name of each migration that was applied."""
        self.after_end: Callable[[], None] | None = None
        """What else is recorded, once the end is."""
        self._context = context
        self._record_end: RecordEnd | None = None

    def lock(self) -> bool:
        """Take the run lock; return whether it had to be waited for. Raises RunLockTimeout, which names the holder."""
        self.connection.require_session(self._context.request.action)
        return self._acquire(RunLock(self.connection))

    def lock_each_file(self) -> bool:
        """The same for files in transactions; where no session is ours, each of these takes the lock by itself."""
        if not self.connection.shares_sessions:
            return self.lock()
        with self.holding() as waited:
            return waited

    @contextmanager
    def holding(self, deadline: Deadline | None = None) -> Iterator[bool]:
        """Hold the lock, where no session is ours, in one transaction for all that the block does; else it is held."""
        if not self.connection.shares_sessions:
            yield False
            return
        lock = RunLock(self.connection)
        yield lock.acquire_for_transaction(deadline or self.deadline, self._waiting)
        self.connection.run("COMMIT")

    def _waiting(self, holder: str) -> None:
        self._context.listen("lock.waiting", {"holder": holder})

    def lock_if_there(self) -> bool:
        """The same for what must not leave anything: where there is no run lock yet, none is created."""
        self.connection.require_session(self._context.request.action)
        return self._acquire(RunLock(self.connection, creates=False))

    def _acquire(self, lock: RunLock) -> bool:
        waited = lock.acquire(self.deadline, self._waiting)
        if lock.strangers:
            warning = (
                f"{lock.strangers} has the advisory lock of earlier versions of db_setup, and is no runner: the run "
                "goes on; a run of an earlier version waits for that"
            )
            self._context.warnings += [warning] if warning not in self._context.warnings else []
        return waited

    def begin(self, action: str, message: str = "") -> int:
        """Record that the run has begun; its end is recorded, too, and seals the history."""
        self.run_id = self.history.begin_run(action, self._context.request_id, message)
        self._context.warnings += self.history.warnings
        self.earlier = self.history.out_of_time
        self.record_end_with(lambda outcome, text: self.history.end_run(self.run_id, outcome, text, self.durations))
        return self.run_id

    def record_end_with(self, record_end: RecordEnd) -> None:
        """Choose how the end is recorded, of a run that has a row already."""
        self._record_end = record_end

    def watch_blockers(self) -> None:
        """Begin to sample who blocks the session, on another one; a second call changes nothing."""
        if self._blockers is None and not self.connection.shares_sessions:
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
                with self.holding(Deadline(_TO_RECORD_THE_END)):
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


@contextmanager
def timed(statements: Sequence[Statement]) -> Iterator[None]:
    """Note in the error of a message which statements it was at work with, and how long."""
    started = time.monotonic()
    try:
        yield
    except (ServerError, ConnectionLost) as error:
        if error.at_work is not None or not statements:
            raise
        first, last = statements[0], statements[-1]
        where = place(first, first_code(first.text))
        where = where._replace(text=mask_values(where.text))
        last_line = last.line + last.text.rstrip().count("\n")
        at_work = AtWork(where, len(statements), last_line, time.monotonic() - started)
        raise error.replace(at_work=at_work) from error.__cause__


class Attempt(NamedTuple):
    """What a run has tried when its time is over: the file, the seconds since it began it, and whether it has steps.

    ``earlier`` are the messages of the runs before that ended for want of time, the last one first.
    """

    file: str
    seconds: float
    stepwise: bool
    in_doubt: bool
    earlier: Sequence[str] = ()


def out_of_time(over: RunError, error: DbSetupError, deadline: Deadline, attempt: Attempt) -> RunError:
    """Return the error of a run that is over, with the statement that ``error`` says was at work, if it does."""
    if at_work := error.at_work:
        where = at_work.where._replace(file=at_work.where.file or attempt.file)
        runs = 1 + _runs_in_a_row(where.excerpt(), f"{where}  {over.what}", attempt.earlier)
        at_work = at_work._replace(where=where, runs=runs)
        over = over.replace(what=f"{over.what}; {_said(at_work)}", where=where, at_work=at_work)
    if attempt.in_doubt or not isinstance(over, DeadlineReached):
        return over
    begins = "the step at work" if attempt.stepwise else attempt.file
    return over.replace(fix=_fix(begins, deadline, attempt))


def _said(at_work: AtWork) -> str:
    took = f"{at_work.seconds:.1f} s"
    if at_work.statements == 1:
        said = f"this statement was at work for {took}"
    else:
        many, last = at_work.statements, at_work.last_line
        said = f"one of these {many} statements, to line {last}, was at work ({took} for all)"
    return said if at_work.runs == 1 else f"{said}; the last {at_work.runs} runs have all ended here"


def _runs_in_a_row(excerpt: str, beginning: str, earlier: Sequence[str]) -> int:
    count = 0
    for message in earlier:
        if not (message.startswith(beginning) and excerpt in message):
            break
        count += 1
    return count


def _fix(begins: str, deadline: Deadline, attempt: Attempt) -> str:
    had = attempt.seconds
    if deadline.limit is None or had < _MOST_OF_IT * deadline.limit:
        return (
            f"run it again: {begins} begins anew, and has more time then than the {had:.0f} s that were left for it; "
            f"{deadline.more_time}"
        )
    split = "" if attempt.stepwise else "; or split the file: what is applied stays applied"
    return f"{begins} begins anew in each run, and {had:.0f} s were not enough: {deadline.more_time}{split}"
