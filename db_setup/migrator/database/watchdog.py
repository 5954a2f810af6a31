"""A watchdog: a thread that bounds what one session's messages may take by the deadline of its run.

The driver waits inside C code, where neither a deadline nor a signal reaches the main thread.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Protocol

from migrator.database.deadline import Deadline
from migrator.errors import ConnectionLost

_TIME_TO_LEAVE = 3.0  # seconds after the deadline, for the messages that end a run
_LAST_SECOND = 1.0  # seconds, when it is cancelled again: user SQL can swallow a cancel
_LONGEST_WAIT = 3600.0  # seconds


class Session(Protocol):
    """What is watched."""

    @property
    def message_at_work(self) -> int:
        """The number of the message that the server has not answered yet, or 0."""

    def cancel(self, message: int) -> None:
        """Ask the server to stop a message, if it is at work with that; raises ConnectionLost."""

    def abort(self) -> None:
        """Cut the connection; raises ConnectionLost."""


class Watchdog:
    """Cancels the session's message at the deadline, again 2 s later, and cuts the connection 3 s after it.

    What is sent after the deadline has these three seconds, too. An interruption of the run is its deadline; one more
    cuts the connection.
    """

    def __init__(self, session: Session, deadline: Deadline) -> None:
        self._session = session
        self._deadline = deadline
        self._stopped = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="db_setup watchdog", daemon=True)

    def start(self) -> Watchdog:
        """Begin to watch."""
        self._deadline.when_interrupted(self._wake.set)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Watch no more; when this returns, nothing is done to the session any more."""
        if self._stopped:
            return
        self._stopped = True
        self._wake.set()
        self._deadline.forget(self._wake.set)
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped and (left := self._deadline.remaining()) > 0:
            self._wake.wait(min(left, _LONGEST_WAIT))
            self._wake.clear()
        if not self._stopped:
            with suppress(ConnectionLost):
                self._end()

    def _end(self) -> None:
        ends = time.monotonic() + _TIME_TO_LEAVE
        message = self._session.message_at_work
        if message:
            self._session.cancel(message)
        woken = self._wake.wait(ends - _LAST_SECOND - time.monotonic())
        if not woken and message and self._session.message_at_work == message:
            self._session.cancel(message)
        if not woken:
            self._wake.wait(ends - time.monotonic())
        if not self._stopped:
            self._session.abort()
