"""A proxy between a client and the server that knows PostgreSQL's messages, and can strike at the n-th of them."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from migrator.cli.local_server import LocalServer

_SOCKET = ".s.PGSQL.5432"
FRONTEND, BACKEND = "F", "B"


class Proxy:
    """Passes messages on, counts them, and calls ``strike`` before or after the chosen one; then cuts."""

    def __init__(self, server: LocalServer, folder: Path) -> None:
        self._target = str(server.socket_folder / _SOCKET)
        self.folder = folder
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / _SOCKET))
        self._listener.listen(16)
        self._lock = threading.Lock()
        self.counts = {FRONTEND: 0, BACKEND: 0}
        self.queries = 0
        self._plan: tuple[str, int, bool] | None = None
        self._strike: Callable[[], None] = lambda: None
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, database: str) -> str:
        """Return the URL of a database behind this proxy."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def arm(self, side: str, message: int, *, before: bool, strike: Callable[[], None] | None = None) -> None:
        """Choose the message at which the connection is cut; counting begins anew."""
        with self._lock:
            self.counts = {FRONTEND: 0, BACKEND: 0}
            self._plan = (side, message, before)
            self._strike = strike or (lambda: None)

    def disarm(self) -> None:
        """Pass everything on from now, counting anew."""
        with self._lock:
            self.counts = {FRONTEND: 0, BACKEND: 0}
            self.queries = 0
            self._plan = None

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            backend = socket.socket(socket.AF_UNIX)
            backend.connect(self._target)
            pair = (client, backend)
            for side, source, sink in ((FRONTEND, client, backend), (BACKEND, backend, client)):
                threading.Thread(target=self._pump, args=(side, source, sink, pair), daemon=True).start()

    def _pump(self, side: str, source: socket.socket, sink: socket.socket, pair: tuple[socket.socket, ...]) -> None:
        struck = False
        try:
            for message in _messages(source, starts=side == FRONTEND):
                struck = self._is_due(side)
                self.queries += side == FRONTEND and message.startswith(b"Q")
                if struck and self._before:
                    break
                sink.sendall(message)
                if struck:
                    break
        except OSError:
            struck = False  # the other side has gone
        if struck:
            self._strike()
        for end in pair:
            _reset(end)

    @property
    def _before(self) -> bool:
        return self._plan is not None and self._plan[2]

    def _is_due(self, side: str) -> bool:
        with self._lock:
            self.counts[side] += 1
            return self._plan is not None and self._plan[:2] == (side, self.counts[side])


def _messages(source: socket.socket, *, starts: bool) -> Iterator[bytes]:
    """Yield whole messages; the first of a client has no type byte."""
    head = 0 if starts else 1
    while prefix := _exactly(source, head + 4):
        (length,) = struct.unpack("!I", prefix[head:])
        yield prefix + _exactly(source, length - 4)
        head = 1


def _exactly(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = source.recv(size - len(data))
        if not piece:
            return b""
        data += piece
    return data


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed by the other direction
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@pytest.fixture
def make_proxy() -> Iterator[Callable[[LocalServer], Proxy]]:
    """Make proxies that stand between a test's client and a server."""
    made: list[Proxy] = []

    def make(server: LocalServer) -> Proxy:
        folder = Path(tempfile.mkdtemp(prefix="proxy-"))  # a socket's path has to be short
        made.append(Proxy(server, folder))
        return made[-1]

    yield make
    for each in made:
        each.close()
        shutil.rmtree(each.folder)


@pytest.fixture
def proxy(make_proxy: Callable[[LocalServer], Proxy], server: LocalServer) -> Proxy:
    """Stand between a test's client and the session's server."""
    return make_proxy(server)
