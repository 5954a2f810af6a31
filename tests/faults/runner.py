"""Runs of the command line, each in a process of its own that may be killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.plugins.answers import wrong_with

PRODUCT = Path(__file__).resolve().parents[2] / "db_setup"
NO_END = -1000
"""The status of a run that had to be killed because it did not end."""


class Ended(NamedTuple):
    """How a run ended: its exit status (negative: the signal), what it has printed, how long it took."""

    status: int
    seconds: float
    out: str = ""
    err: str = ""

    @property
    def killed(self) -> bool:
        """Whether it was ended by SIGKILL."""
        return self.status in {-signal.SIGKILL, NO_END}

    @property
    def body(self) -> dict[str, Any]:
        """The answer; empty where there is none."""
        try:
            answer: dict[str, Any] = json.loads(self.out)
        except ValueError:
            return {}
        return answer

    def malformed(self) -> str:
        """Return what is wrong with the answer's form, empty for a valid one."""
        return wrong_with(self.body) if self.body else f"no answer: {self.out} {self.err}"


class Runner:
    """A run at work."""

    def __init__(self, place: str, words: Sequence[str], environ: Mapping[str, str]) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(place)
        self._stream = self._socket.makefile("rw", encoding="utf-8")
        self._stream.write(json.dumps({"words": [*words], "environ": {**environ}}) + "\n")
        self._stream.flush()
        self._ended = threading.Lock()
        self.pid = int(self._stream.readline())

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless its result was taken."""
        with self._ended:
            if self.pid:
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send(signal.SIGKILL)

    def result(self, limit: float) -> Ended:
        """Wait for the end; kill it where that does not come within so many seconds."""
        self._socket.settimeout(limit)
        try:
            ended = Ended(**json.loads(self._stream.readline()))
        except TimeoutError:
            self.kill()
            ended = Ended(NO_END, limit)
        with self._ended:
            self.pid = 0  # another process may have the number next
            self._stream.close()
            self._socket.close()
        return ended


class Nest:
    """The process that runs are forked from."""

    def __init__(self, product: Path = PRODUCT) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="nest-")
        self._place = f"{self._folder.name}/socket"
        program = [sys.executable, str(Path(__file__).with_name("nest.py")), str(product), self._place]
        self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        self._folder.cleanup()

    def start(self, words: Sequence[str], environ: Mapping[str, str]) -> Runner:
        """Start a run of the command line."""
        return Runner(self._place, words, environ)
