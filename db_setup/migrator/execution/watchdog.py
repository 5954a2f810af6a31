"""The watchdog: a thread that ends what the main thread waits for, when the time is over or the run is interrupted.

The driver waits inside C code, where neither a deadline nor a signal reaches the main thread.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator

from migrator.database import Connection, Deadline
from migrator.errors import ConnectionLost

_SECOND_CANCEL = 2.0  # seconds; user SQL can swallow a cancel
_LONGEST_WAIT = 3600.0  # seconds
_STOP = b"\x00"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_INTERRUPTIONS = (bytes([signal.SIGINT]), bytes([signal.SIGTERM]))


class Watchdog:
    """Cancels the session's statement at the deadline, again 2 s later, then cuts the connection (contract 6)."""

    def __init__(self, connection: Connection, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self.fired = False

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the block runs. In the main thread SIGINT and SIGTERM interrupt the run, and nothing else."""
        self._stop, self._wake = socket.socketpair()
        restore = self._take_signals()
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

    def _take_signals(self) -> Callable[[], None]:
        """Have the interpreter write signals into our socket, which it does even while the driver waits."""
        if threading.current_thread() is not threading.main_thread():
            return lambda: None
        self._stop.setblocking(False)
        earlier = signal.set_wakeup_fd(self._stop.fileno(), warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, self._interrupt) for number in _SIGNALS}

        def restore() -> None:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(earlier)

        return restore

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
        with contextlib.suppress(ConnectionLost):
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
