"""The parts of the campaign, as data: which faults hit which scenarios, and how often."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.faults import parallel, strikes
from tests.faults.lane import Lane
from tests.faults.scenarios import ALL, BY_NAME, Scenario
from tests.faults.trial import Fault, Finding

EVERY = -1
"""The size of a sample that is no sample."""
_FILES, _NEW, _MIXED = BY_NAME["files"], BY_NAME["new database"], BY_NAME["mixed"]


class Job(NamedTuple):
    """What a lane does without a pause: a share of the points of one part and scenario."""

    part: str
    scenario: str
    size: int
    seed: int
    share: int = 0
    of: int = 1


class Part(NamedTuple):
    """A part: what it does with a job, its size for each scenario, and how many jobs that is.

    ``waits``: it does little but wait, so that more lanes than processors have a use. ``lacks`` says what it needs and
    is not there.
    """

    name: str
    take: Callable[[Lane, Job], Iterator[Finding]]
    sizes: dict[str, int]
    jobs: int = 2
    waits: bool = False
    lacks: Callable[[], str] = lambda: ""
    alone: bool = False

    def all_jobs(self, seed: int) -> list[Job]:
        """Return all of its jobs."""
        return [
            Job(self.name, scenario, size, seed, share, self.jobs)
            for scenario, size in self.sizes.items()
            for share in range(self.jobs)
        ]


def at_messages(fault: Fault, sizes: dict[str, int], *, jobs: int = 2, waits: bool = False) -> Part:
    """Return the part of a fault that strikes at messages."""

    def take(lane: Lane, job: Job) -> Iterator[Finding]:
        scenario = BY_NAME[job.scenario]
        size = None if job.size == EVERY else job.size
        for point in lane.trials.points(scenario, size, f"{fault.name} {job.seed}")[job.share :: job.of]:
            yield lane.trials.take(scenario, fault, point, job.part)

    return Part(fault.name, take, sizes, jobs, waits)


def each(size: int, *scenarios: Scenario) -> dict[str, int]:
    """Return one size for several scenarios, for all of them where none is named."""
    return dict.fromkeys([scenario.name for scenario in scenarios or ALL], size)


def _side_by_side(number: int) -> Part:
    name = f"{number} runners at once"

    def take(lane: Lane, job: Job) -> Iterator[Finding]:
        for round_ in range(job.share, job.size, job.of):
            yield parallel.side_by_side(lane.trials, BY_NAME[job.scenario], number, job.seed + round_, name)

    return Part(name, take, {_NEW.name: 30, BY_NAME["indexes"].name: 20}, jobs=5)


def _overlapping() -> Part:
    name = "deploy invoked three times"

    def take(lane: Lane, job: Job) -> Iterator[Finding]:
        for round_ in range(job.share, job.size, job.of):
            yield parallel.side_by_side(lane.trials, BY_NAME[job.scenario], 3, job.seed + round_, name, overlap=True)

    return Part(name, take, each(25, _MIXED, BY_NAME["locks"]), jobs=5)


PARTS = (
    at_messages(strikes.KILL, each(16)),
    at_messages(strikes.CUT, each(20)),
    at_messages(strikes.RESTART, each(10)),
    at_messages(strikes.BLACK_HOLE, {**each(8), _FILES.name: EVERY}, jobs=6, waits=True),
    at_messages(strikes.FREEZE, each(6), waits=True),
    _side_by_side(2),
    _side_by_side(8),
    _side_by_side(32),
    _overlapping(),
)
BY_PART = {part.name: part for part in PARTS}
