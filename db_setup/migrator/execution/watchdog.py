"""The watchdog: a thread that ends what the main thread waits for, when the time is over or a person says so.

The driver waits inside C code, where neither a deadline nor Ctrl-C reaches the main thread.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator

from migrator.database.connection import Connection
from migrator.database.deadline import Deadline, time_is_over
from migrator.errors import ConnectionLost, DbSetupError, RunInterrupted

_SECOND_CANCEL = 2.0  # seconds; user SQL can swallow a cancel
_LONGEST_WAIT = 3600.0  # seconds
_STOP = b"\x00"
_KEYS = (bytes([signal.SIGINT]), bytes([signal.SIGTERM]))


class Watchdog:
    """Cancels the session's statement at the deadline, again 2 s later, then cuts the connection (contract 6)."""

    def __init__(self, connection: Connection, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self._stop, self._wake = socket.socketpair()
        self._interrupted = False
        self.fired = False

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the block runs; needs no thread where there is neither a deadline nor a keyboard."""
        restore = self._listen_to_keyboard()
        thread = threading.Thread(target=self._watch, name="db_setup watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.send(_STOP)
            thread.join()
            restore()
            self._stop.close()
            self._wake.close()

    def reason(self) -> DbSetupError:
        """Return the error that tells why the run was ended."""
        if self._interrupted:
            return RunInterrupted("the run was interrupted", fix="run it again: it carries on where this run stopped")
        return time_is_over()

    def _listen_to_keyboard(self) -> Callable[[], None]:
        """Have the interpreter write into our socket at a signal, which it does even while the driver waits."""
        if threading.current_thread() is not threading.main_thread():
            return lambda: None
        self._stop.setblocking(False)
        earlier = signal.set_wakeup_fd(self._stop.fileno(), warn_on_full_buffer=False)

        def restore() -> None:
            signal.set_wakeup_fd(earlier)

        return restore

    def _watch(self) -> None:
        while self._deadline.remaining() > 0:
            byte = self._heard(min(self._deadline.remaining(), _LONGEST_WAIT))
            if byte == _STOP:
                return
            if byte in _KEYS:
                self._interrupted = True
                break
        self._end()

    def _end(self) -> None:
        self.fired = True
        with contextlib.suppress(ConnectionLost):
            for _ in range(2):
                self._connection.cancel()
                if self._heard(_SECOND_CANCEL) == _STOP:
                    return
            self._connection.abort()

    def _heard(self, seconds: float) -> bytes:
        """Return the next byte: the order to stop, or a signal's number; nothing when the time is over."""
        ready, _, _ = select.select([self._wake], [], [], seconds)
        return self._wake.recv(1) if ready else b""
