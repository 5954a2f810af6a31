"""The parts of the campaign, as data: which faults hit which scenarios, and how often."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from tests.faults import failover, mixture, parallel, pooler, resources, strikes, suites, versions
from tests.faults.lane import Lane
from tests.faults.scenarios import ALL, BY_NAME, Scenario
from tests.faults.stage import Stage
from tests.faults.trial import Fault, Finding, Trials
from tests.plugins import pgbouncer

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


def _mixtures() -> Part:
    def take(lane: Lane, job: Job) -> Iterator[Finding]:
        for seed in range(job.seed + job.share, job.seed + job.size, job.of):
            chosen = mixture.Mixture.of(seed)
            finding = mixture.take(lane.trials, chosen, f"seed {seed}")
            if finding.wrong or finding.stuck:
                shrunk = mixture.shrink(lane.trials, chosen)
                finding = finding._replace(at=f"seed {seed}, shrunk to {shrunk.line()}")
            yield finding

    return Part(mixture.NAME, take, {"": 150}, jobs=15, waits=True)


def _disk(*, wal: bool) -> Part:
    def take(lane: Lane, job: Job) -> Iterator[Finding]:
        yield from resources.on_small_disk(lane.place(), lane.pgbin, job.size, job.seed, wal=wal)

    name = "WAL disk full" if wal else "data disk full"
    return Part(name, take, {"": 12}, jobs=1, lacks=resources.lacks_disk)


def _failover() -> Part:
    def take(lane: Lane, job: Job) -> Iterator[Finding]:
        yield from failover.fail_over(lane.place(), lane.pgbin, BY_NAME[job.scenario], job.size, job.seed)

    return Part("failover", take, each(8, _NEW, _FILES, BY_NAME["indexes"]), jobs=1, lacks=failover.lacks)


def _version(major: int) -> Part:
    name = f"PostgreSQL {major}"

    def take(lane: Lane, job: Job) -> Iterator[Finding]:
        with Stage(lane.place(), versions.programs(major)) as stage:
            trials = Trials(stage)
            for fault in (strikes.KILL, strikes.CUT, strikes.RESTART):
                for point in trials.points(BY_NAME[job.scenario], job.size, f"{fault.name} {job.seed}"):
                    yield trials.take(BY_NAME[job.scenario], fault, point, name)

    scenarios = each(2, _NEW, _MIXED, BY_NAME["session state"], BY_NAME["rollback by steps"], BY_NAME["deploy to tables"])
    return Part(name, take, scenarios, jobs=1, lacks=partial(versions.lacks, major))


def _suite(suite: suites.Suite) -> Part:
    def take(lane: Lane, _: Job) -> Iterator[Finding]:
        yield from suites.run(suite, min(2, os.cpu_count() or 1), lane.pgbin)

    return Part(suite.name, take, {"": 1}, jobs=1, lacks=suite.lacks, alone=True)


def _pooled(mode: str, sizes: dict[str, int]) -> Part:
    name = f"PgBouncer, {mode} mode"

    def take(lane: Lane, job: Job) -> Iterator[Finding]:
        scenario, stage = BY_NAME[job.scenario], lane.trials.stage
        with pooler.between(stage, mode):
            trials = Trials(stage)  # whose runs have other messages than those without a pool
            for fault in (strikes.KILL, strikes.CUT):
                for point in trials.points(scenario, job.size, f"{fault.name} {job.seed}"):
                    yield trials.take(scenario, fault, point, name)

    return Part(name, take, sizes, jobs=1, lacks=pgbouncer.lacks)


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
    at_messages(resources.SLOTS, each(2), waits=True),
    at_messages(resources.LOCK_TABLE, each(2), waits=True),
    _disk(wal=False),
    _disk(wal=True),
    _failover(),
    *map(_version, versions.MAJORS),
    _pooled("session", each(12, _FILES, _NEW, _MIXED, BY_NAME["blocks"])),
    _pooled("transaction", each(24, _FILES, BY_NAME["repeatable"])),
    _mixtures(),
    *map(_suite, suites.SUITES),
)
BY_PART = {part.name: part for part in PARTS}
