"""SIGINT and SIGTERM wherever no supervised run handles them: before it, after it, and where there is none."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_GRACE = 1.0  # seconds for Python code to end; a statement that is not part of a run mostly does so by itself
_STOP = b"\0"
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(give_up: Callable[[], int]) -> Iterator[None]:
    """Raise KeyboardInterrupt in the block on either signal.

    The driver connects inside C code, which no exception ends: there a thread calls ``give_up`` and ends the process
    with the status it returns. Only a supervised run writes more than one statement can, and it takes the signals
    itself, so nothing is left half done. Signals that a caller has blocked are delivered in the block, and then blocked
    again.
    """
    takes_signals = threading.current_thread() is threading.main_thread() and hasattr(signal, "pthread_sigmask")
    if not takes_signals:  # in another thread, which the system sends none to, or on Windows
        yield
        return
    interruption = _Interruption(give_up)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        yield
    finally:
        interruption.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


class _Interruption:
    """The handler of the signals, and the thread that acts where the handler cannot run."""

    def __init__(self, give_up: Callable[[], int]) -> None:
        self._give_up = give_up
        self._closed = False
        self._handled = threading.Event()
        self._ending = threading.RLock()
        self._received, self._sent = os.pipe()
        os.set_blocking(self._sent, False)
        self._earlier_wakeup = signal.set_wakeup_fd(self._sent, warn_on_full_buffer=False)
        self._earlier_handlers = {number: signal.signal(number, self._interrupt) for number in SIGNALS}
        self._thread = threading.Thread(target=self._watch, name="db_setup interruption", daemon=True)
        self._thread.start()

    def _interrupt(self, _number: int, _frame: object) -> None:
        if self._closed:
            return
        with self._ending:  # never released by the thread that ends the process
            self._handled.set()
        raise KeyboardInterrupt

    def _watch(self) -> None:
        while os.read(self._received, 1) != _STOP:
            if not self._handled.wait(_GRACE):
                with self._ending:
                    if not self._handled.is_set():
                        os._exit(self._give_up())

    def close(self) -> None:
        """Give the signals back to whoever had them."""
        self._closed = True
        for number, handler in self._earlier_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._earlier_wakeup)
        os.write(self._sent, _STOP)
        self._thread.join()
        os.close(self._received)
        os.close(self._sent)
