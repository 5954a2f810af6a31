"""Trials: a fault is put into a copy of the project, and the tests are run that should notice it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.mutants.tree import copy

KILLED, TIMED_OUT, SURVIVED = "killed", "timed out", "survived"
_PATIENCE, _SLOWNESS = 15, 6  # a test may take so many seconds more, and so many times as long, as it did


class Result(NamedTuple):
    """How a trial ended, and what pytest said."""

    outcome: str
    output: str


class Workplace:
    """A copy of the project with a worker in it; to be used in a ``with``."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="db_setup-mutants-")).resolve()
        self._folder.chmod(0o711)
        tree = copy(self._folder / "tree")
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.worker"],
            cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(tree)},
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.close()
        self._worker.wait()
        self._worker.stdout.close()

    def try_out(self, path: str, source: str, seconds: Mapping[str, float]) -> Result:
        """Return what the tests say, in their order, of a file with another text; each has the seconds it took."""
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        limits = {test: _PATIENCE + _SLOWNESS * taken for test, taken in seconds.items()}
        limit = 2 * _PATIENCE + _SLOWNESS * sum(seconds.values())
        order = {"path": path, "source": source, "seconds": limits, "limit": limit}
        self._worker.stdin.write(json.dumps(order) + "\n")
        self._worker.stdin.flush()
        answer = self._worker.stdout.readline()
        if not answer:
            raise RuntimeError("a worker has ended")
        result = Result(**json.loads(answer))
        if result.outcome not in {KILLED, TIMED_OUT, SURVIVED}:
            raise RuntimeError(f"the tests did not run: {result.output[-2000:]}")
        return result
