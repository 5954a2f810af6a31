"""The watchdog: ends what a run waits for, when its time is over or a signal interrupts it.

The driver waits inside C code, where neither a deadline nor a signal reaches the main thread; the watchdog is a thread
of its own.
"""

from __future__ import annotations

import select
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from migrator.database import Connection, Deadline
from migrator.errors import ConnectionLost

_SECOND_CANCEL = 2.0  # seconds; user SQL can swallow a cancel
_LONGEST_WAIT = 3600.0  # seconds
_STOP = b"\x00"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_INTERRUPTIONS = (bytes([signal.SIGINT]), bytes([signal.SIGTERM]))


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
