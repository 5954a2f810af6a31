"""Whole processes and what they cost; floor and subjects in turns, so that a busy machine hits all alike."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks import PRODUCT

_KILOBYTE = 1 if sys.platform == "darwin" else 1024  # what ru_maxrss counts in


class Cost(NamedTuple):
    """What a process took: seconds on the clock, seconds of CPU, and bytes of memory at its peak."""

    wall: float
    cpu: float
    memory: int


class Command(NamedTuple):
    """A process to be run: its words, its own part of the environment, and the folder it starts in."""

    words: Sequence[str | Path]
    environ: Mapping[str, str] = {}
    folder: Path | None = None

    def run(self) -> Cost:
        """Run it to its end; raises RuntimeError with what it said when it fails.

        The peak of a child counts from its fork, so it is never below this process's own.
        """
        environ = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", **self.environ}
        with tempfile.TemporaryFile() as said:
            started = time.perf_counter()
            process = subprocess.Popen(
                self.words, env=environ, cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=said,
            )  # fmt: skip
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                said.seek(0)
                raise RuntimeError(f"{self.words} failed: {said.read().decode(errors='replace')}")
        return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _KILOBYTE)


def python(code: str, folder: Path, *arguments: str, **environ: str) -> Command:
    """Return the command that runs ``code`` next to the modules of ``folder``, with their bytecode cached."""
    return Command([sys.executable, "-c", code, *arguments], environ, folder)


def floor(url: str, migrations: Path) -> Command:
    """Return the floor's command."""
    code = "import sys, floor; floor.main(*sys.argv[1:])"
    return python(code, Path(__file__).parent, url, str(migrations))


def handler(url: str, migrations: Path, event: str = "{}") -> Command:
    """Return the command that does what Lambda does with an event."""
    code = f"import initializer; initializer.handler({event}, None)"
    return python(code, PRODUCT, DATABASE_URL=url, MIGRATIONS_DIR=str(migrations))


def command_line(url: str, migrations: Path) -> Command:
    """Return the command that a person types."""
    return Command([sys.executable, PRODUCT, "migrate", "--database-url", url, "--migrations", migrations])


ENTRY_POINTS = {"handler": handler, "command line": command_line}


class Comparison(NamedTuple):
    """The floor's and one subject's figures, one pair a round; a figure's middle is its median."""

    floors: list[float]
    subjects: list[float]

    @property
    def floor(self) -> float:
        """Return the floor's middle figure."""
        return statistics.median(self.floors)

    @property
    def measured(self) -> float:
        """Return the subject's middle figure."""
        return statistics.median(self.subjects)

    @property
    def ratio(self) -> float:
        """Return the middle one of the pairs' ratios, which is not the ratio of the middle figures."""
        return statistics.median(b / a for a, b in zip(self.floors, self.subjects, strict=True))

    @property
    def difference(self) -> float:
        """Return the middle one of the pairs' differences."""
        return statistics.median(b - a for a, b in zip(self.floors, self.subjects, strict=True))


Run = Callable[[], Cost]


Pairs = list[tuple[Cost, Cost]]


def interleave(floor_run: Run, subjects: Mapping[str, Run], rounds: int) -> dict[str, Pairs]:
    """Run floor and subjects in turns and return each subject's pairs; a first round fills the caches."""
    pairs: dict[str, Pairs] = {name: [] for name in subjects}
    for turn in range(rounds + 1):
        costs: dict[str, Cost] = {}
        order = [("", floor_run), *subjects.items()]
        for name, run in order if turn % 2 else reversed(order):  # what drifts meets both orders
            costs[name] = run()
        if turn:
            for name, found in pairs.items():
                found.append((costs[""], costs[name]))
    return pairs


def compare(pairs: Pairs, what: Callable[[Cost], float]) -> Comparison:
    """Return one figure of all pairs."""
    return Comparison([what(first) for first, _ in pairs], [what(second) for _, second in pairs])
