"""A proxy between clients and a server that knows PostgreSQL's messages: it counts, delays and cuts at any of them."""

from __future__ import annotations

import contextlib
import queue
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

from migrator.cli.local_server import LocalServer

_SOCKET = ".s.PGSQL.5432"
_PIECE = 1 << 16
_READY = b"Z"  # ReadyForQuery, with which the server ends the start of a session
FRONTEND, BACKEND = "F", "B"


class Point(NamedTuple):
    """A message of one side, and whether the strike comes before or after it."""

    side: str
    message: int
    before: bool


class Proxy:
    """Passes messages on and counts them; at the chosen one it calls ``strike``, and cuts the connection if it is to.

    A delay holds back every piece by the same number of seconds and lets those behind it follow at once: it is a
    longer wire, not a narrower one.
    """

    def __init__(self, server: LocalServer, delay: float = 0.0) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="proxy-"))  # a socket's path has to be short
        self.counts = {FRONTEND: 0, BACKEND: 0}
        self.queries = 0
        self.waits = 0  # how often clients have waited for an answer since their sessions were ready
        self._target = str(server.socket_folder / _SOCKET)
        self._delay = delay
        self._lock = threading.Lock()
        self._point: Point | None = None
        self._strike: Callable[[], None] = lambda: None
        self._cuts = True
        self._silent, self._heard_again = threading.Event(), threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.folder / _SOCKET))
        self._listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, database: str) -> str:
        """Return the URL of a database behind this proxy."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def arm(
        self, side: str, message: int, *, before: bool, strike: Callable[[], None] | None = None, cuts: bool = True
    ) -> None:
        """Choose the message at which it strikes; counting begins anew."""
        with self._lock:
            self.counts = {FRONTEND: 0, BACKEND: 0}
            self._point = Point(side, message, before)
            self._strike = strike or (lambda: None)
            self._cuts = cuts

    def fall_silent(self) -> None:
        """Be a black hole, as a strike: every connection, new ones too, stays open, and nothing comes through."""
        self._heard_again.clear()
        self._silent.set()
        self._heard_again.wait()

    def is_silent(self) -> bool:
        """Return whether it is a black hole."""
        return self._silent.is_set()

    def lead_to(self, folder: Path) -> None:
        """Connect new clients to what listens in another folder."""
        self._target = str(folder / _SOCKET)

    def disarm(self) -> None:
        """Pass everything on from now, counting anew; connections that went silent are cut."""
        self._silent.clear()
        self._heard_again.set()
        with self._lock:
            self.counts = {FRONTEND: 0, BACKEND: 0}
            self.queries = 0
            self._point = None

    def close(self) -> None:
        """Take no more connections."""
        self._heard_again.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # which ends the waiting for the next one
        self._listener.close()
        shutil.rmtree(self.folder)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            backend = socket.socket(socket.AF_UNIX)
            try:
                backend.connect(self._target)
            except OSError:  # the server is down
                client.close()
                continue
            session = _Session(client, backend)
            for side in (FRONTEND, BACKEND):
                threading.Thread(target=self._pump, args=(side, session), daemon=True).start()

    def _pump(self, side: str, session: _Session) -> None:
        source, sink = session.ends(side)
        wire = _Wire(sink, self._delay)
        struck = False
        with contextlib.suppress(OSError):  # the other side has gone
            for messages in _received(source, typed=side == BACKEND):
                if self._silent.is_set():
                    self._heard_again.wait()
                    break
                passed, held, struck = self._until_point(side, messages, session)
                wire.send(b"".join(passed))
                if struck and self._cuts:
                    break
                if struck:
                    self._strike()
                    struck = False
                    wire.send(b"".join(held))
        wire.close()
        if struck and not wire.broken:
            self._strike()
        session.reset()

    def _until_point(
        self, side: str, messages: list[bytes], session: _Session
    ) -> tuple[list[bytes], list[bytes], bool]:
        """Count messages; return those to be passed on, those behind the chosen one, and whether it was among them."""
        with self._lock:
            for number, message in enumerate(messages):
                self.counts[side] += 1
                self.queries += side == FRONTEND and message.startswith(b"Q")
                self.waits += session.ends_a_wait(side, message)
                if self._point and self._point[:2] == (side, self.counts[side]):
                    end = number + (not self._point.before)
                    return messages[:end], messages[end:], True
        return messages, [], False


class _Session:
    """One connection: its two ends, and whose turn it is."""

    def __init__(self, client: socket.socket, backend: socket.socket) -> None:
        self._client, self._backend = client, backend
        self._asked = self._ready = False

    def ends(self, side: str) -> tuple[socket.socket, socket.socket]:
        """Return where messages of a side come from, and where they go."""
        return (self._client, self._backend) if side == FRONTEND else (self._backend, self._client)

    def ends_a_wait(self, side: str, message: bytes) -> bool:
        """Return whether this is the first message of an answer; what comes before the session is ready is none."""
        if side == FRONTEND:
            self._asked = True
            return False
        ended = self._asked and self._ready
        self._ready = self._ready or message.startswith(_READY)
        self._asked = False
        return ended

    def reset(self) -> None:
        """Close both ends."""
        for end in (self._client, self._backend):
            with contextlib.suppress(OSError):  # closed by the other direction
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class _Wire:
    """Sends what it is given; with a delay, from a thread of its own, when each piece is due."""

    def __init__(self, sink: socket.socket, delay: float) -> None:
        self._sink = sink
        self._delay = delay
        self._pieces: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._hand_on, daemon=True)
        self.broken = False
        if delay:
            self._thread.start()

    def send(self, content: bytes) -> None:
        """Send now, or when it is due; raises OSError when the other side has gone."""
        if self._delay:
            self._pieces.put((time.monotonic() + self._delay, content))
        else:
            self._send(content)

    def close(self) -> None:
        """Return when everything was sent."""
        if self._delay:
            self._pieces.put((0.0, b""))
            self._thread.join()

    def _send(self, content: bytes) -> None:
        try:
            self._sink.sendall(content)
        except OSError:
            self.broken = True
            raise

    def _hand_on(self) -> None:
        with contextlib.suppress(OSError):
            while (piece := self._pieces.get())[1]:
                time.sleep(max(0.0, piece[0] - time.monotonic()))
                self._send(piece[1])


def _received(source: socket.socket, *, typed: bool) -> Iterator[list[bytes]]:
    """Yield the whole messages that have arrived together; the first of a client has no type byte."""
    rest = bytearray()
    while piece := source.recv(_PIECE):
        rest += piece
        messages: list[bytes] = []
        start = 0
        while len(rest) >= start + typed + 4:
            (length,) = struct.unpack_from("!I", rest, start + typed)
            end = start + typed + length
            if len(rest) < end:
                break
            messages.append(bytes(rest[start:end]))
            start, typed = end, True
        del rest[:start]
        if messages:
            yield messages
