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
_INTERRUPTIONS = tuple(bytes([number]) for number in _SIGNALS)


class Watchdog:
    """Cancels the session's statement at the deadline, again 2 s later, then cuts the connection (contract 6)."""

    def __init__(self, connection: Connection, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self.fired = False

    @contextlib.contextmanager
    def taking_signals(self) -> Iterator[None]:
        """Have SIGINT and SIGTERM interrupt the run, and nothing else, while the block runs in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        earlier = signal.set_wakeup_fd(-1)
        handlers = {number: signal.signal(number, self._interrupt) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(earlier)

    @contextlib.contextmanager
    def watching(self, *, interruptible: bool = True) -> Iterator[None]:
        """Watch while the block runs; a signal that is taken ends what it waits for, if it is ``interruptible``."""
        self._stop, self._wake = socket.socketpair()
        restore = self._hear_signals() if interruptible else lambda: None
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

    def _hear_signals(self) -> Callable[[], object]:
        """Have the interpreter write signals into our socket, which it does even while the driver waits."""
        if threading.current_thread() is not threading.main_thread():
            return lambda: None
        self._stop.setblocking(False)
        earlier = signal.set_wakeup_fd(self._stop.fileno(), warn_on_full_buffer=False)
        return lambda: signal.set_wakeup_fd(earlier)

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
