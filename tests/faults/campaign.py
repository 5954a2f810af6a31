"""The campaign: jobs over lanes, progress, and the table."""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing.pool import Pool
from pathlib import Path
from typing import NamedTuple, Self

from tests.faults.lane import Lane
from tests.faults.parts import BY_PART, Job, Part
from tests.faults.trial import Finding

_WAITING = 3
"""How many lanes of a part that mostly waits go on one processor."""
_SHOWN = 10.0  # seconds between lines of progress


class Row(NamedTuple):
    """What came of a part; ``not_run`` says why it was not, if so."""

    part: str
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0
    not_run: str = ""

    @property
    def struck(self) -> list[Finding]:
        """The points that were come to."""
        return [finding for finding in self.findings if finding.reached]

    @property
    def bad(self) -> list[Finding]:
        """The findings that are wrong or stuck."""
        return [finding for finding in self.findings if finding.wrong or finding.stuck]

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        if self.not_run:
            return (self.part, f"not run: {self.not_run}", "", "", "", "", "")
        wrong, stuck = (sum(bool(each) for each in column) for column in zip(*((f.wrong, f.stuck) for f in self.findings), strict=True))
        reruns = sum(finding.reruns for finding in self.findings)
        longest = max(finding.seconds for finding in self.findings)
        figures = (len(self.struck), wrong, stuck, reruns, f"{longest:.1f} s", f"{self.seconds:.0f} s")
        return (self.part, *map(str, figures))


COLUMNS = ("fault", "points", "wrong", "stuck", "re-runs", "longest run", "took")


class Pools:
    """Processes that take jobs, each on a lane of its own; they are kept from one part to the next."""

    def __init__(self, folder: Path, pgbin: str) -> None:
        self._where = str(folder), pgbin
        self._pools: dict[int, Pool] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self._pools.values():
            pool.close()
            pool.join()

    def take(self, jobs: list[Job], lanes: int) -> Iterator[list[Finding]]:
        """Take jobs on so many lanes, and yield what comes of each as it is done."""
        if lanes not in self._pools:
            self._pools[lanes] = multiprocessing.get_context("spawn").Pool(lanes, _open_lane, self._where)
        return self._pools[lanes].imap_unordered(_take, jobs)


def run(parts: Sequence[Part], pools: Pools, seed: int, lanes: int, share: float = 1.0) -> Iterator[Row]:
    """Run parts one after another, each over all lanes; ``share`` is that of the full size."""
    for part in parts:
        if lacks := part.lacks():
            yield Row(part.name, not_run=lacks)
            continue
        started = time.monotonic()
        jobs = [job._replace(size=_shared(job.size, share)) for job in part.all_jobs(seed)]
        number = 1 if part.alone else lanes * (_WAITING if part.waits else 1)
        yield Row(part.name, tuple(_findings(part, jobs, pools.take(jobs, number))), time.monotonic() - started)


def _shared(size: int, share: float) -> int:
    if share == 1.0:
        return size
    return max(1, round((size if size > 0 else 300) * share))


def _findings(part: Part, jobs: list[Job], results: Iterator[list[Finding]]) -> Iterator[Finding]:
    """Yield all findings, and show the bad ones and how far it is."""
    started = shown = time.monotonic()
    count = bad = 0
    for done, findings in enumerate(results, 1):
        yield from findings
        count += len(findings)
        for finding in (each for each in findings if each.wrong or each.stuck):
            bad += 1
            say(f"  {finding}")
        if time.monotonic() - shown > _SHOWN or done == len(jobs):
            shown = time.monotonic()
            say(f"  {part.name}: {done} of {len(jobs)} jobs, {count} points, {bad} bad, {shown - started:.0f} s")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


_lane: Lane


def _open_lane(folder: str, pgbin: str) -> None:
    global _lane  # noqa: PLW0603 - one for each process of the pool
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the campaign ends its lanes
    _lane = Lane(Path(folder), pgbin)
    multiprocessing.util.Finalize(None, _lane.close, exitpriority=10)


def _take(job: Job) -> list[Finding]:
    """Carry out a job; what breaks the campaign itself is shown as wrong, too."""
    try:
        return list(BY_PART[job.part].take(_lane, job))
    except Exception as error:  # noqa: BLE001 - named with its job
        import traceback

        text = "".join(traceback.format_exception(error))
        return [Finding(job.part, job.scenario, f"job {job.share} of {job.of} in process {os.getpid()}", (text,))]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown."""
    cells = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
