"""A proxy before a server: it delays each direction, and counts how often a client waits for the network."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Self

_PIECE = 1 << 16
_READY = b"Z\x00\x00\x00\x05"  # ReadyForQuery, but for the transaction status that ends it
_STATUS = (b"I", b"T", b"E")
_CLOSED = b""

_Saw = Callable[[bytes], None]


class Piece(NamedTuple):
    """Bytes on their way, and when they arrive."""

    due: float
    content: bytes


class Proxy:
    """Listens on a port of this machine for as long as a ``with`` block runs.

    The delay holds back every piece by the same time and lets those behind it follow at once: it is a longer
    wire, not a narrower one.
    """

    def __init__(self, server_socket: str, delay: float = 0.0) -> None:
        self._server_socket = server_socket
        self._delay = delay
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sessions: list[_Session] = []

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.getsockname()[1])

    @property
    def waits(self) -> int:
        """How often clients have waited for an answer since they were connected."""
        return sum(session.waits for session in self._sessions)

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for session in self._sessions:
            session.join()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server_socket)
                self._sessions.append(_Session(client, server, self._delay))


class _Session:
    """One connection: two wires, and the turns of the talk on them."""

    def __init__(self, client: socket.socket, server: socket.socket, delay: float) -> None:
        self._asked = self._connected = False
        self.waits = 0
        self._wires = [_Wire(client, server, delay, self._ask), _Wire(server, client, delay, self._answer)]

    def join(self) -> None:
        """Wait until both sides have hung up."""
        for wire in self._wires:
            wire.join()

    def _ask(self, _: bytes) -> None:
        self._asked = True

    def _answer(self, content: bytes) -> None:
        """Count the first piece of each answer; the one that ends the start-up ends what is not counted."""
        if self._connected:
            self.waits += self._asked
        else:
            self._connected = content[-6:-1] == _READY and content[-1:] in _STATUS
        self._asked = False


class _Wire:
    """One direction: a thread that takes pieces in, and one that hands each on when it is due."""

    def __init__(self, source: socket.socket, target: socket.socket, delay: float, saw: _Saw) -> None:
        self._pieces: queue.SimpleQueue[Piece] = queue.SimpleQueue()
        self._source, self._target = source, target
        self._delay = delay
        self._saw = saw
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._take, self._hand_on)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _take(self) -> None:
        content = b"more"
        while content:
            try:
                content = self._source.recv(_PIECE)
            except OSError:
                content = _CLOSED
            if content:
                self._saw(content)
            self._pieces.put(Piece(time.monotonic() + self._delay, content))

    def _hand_on(self) -> None:
        with contextlib.suppress(OSError):  # the other side has hung up
            while True:
                piece = self._pieces.get()
                if (early := piece.due - time.monotonic()) > 0:
                    time.sleep(early)
                if not piece.content:
                    self._target.shutdown(socket.SHUT_WR)
                    return
                self._target.sendall(piece.content)
