"""A trial: one scenario, one fault at one point, at most one re-run, and what the oracle says of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from tests.faults.bystander import Bystander
from tests.faults.oracle import State, lies, state_of
from tests.faults.runner import Ended
from tests.faults.scenarios import Scenario
from tests.faults.stage import BOUND, TIMEOUT, Stage, Target
from tests.plugins.proxy import BACKEND, FRONTEND, Point

_STALL = 3.0  # seconds that a statement of the application may take


class Struck(NamedTuple):
    """A run that was to be struck: how it ended, and whether it came to the point at all."""

    ended: Ended
    reached: bool


class Fault(NamedTuple):
    """A kind of fault: what is done to a run on a target at a point.

    ``timeout`` is what the run has, in
    seconds. ``reachable``: the server can be asked in the end, so that nothing stays unknown. ``spares``: the fault
    itself leaves other sessions alone, so that they must not notice the run.
    """

    name: str
    strike: Callable[[Stage, Target, Point], Struck]
    timeout: float = TIMEOUT
    reachable: bool = True
    spares: bool = True


class Finding(NamedTuple):
    """What came of one point."""

    part: str
    scenario: str
    at: str
    wrong: tuple[str, ...] = ()
    stuck: bool = False
    reruns: int = 0
    seconds: float = 0.0
    reached: bool = True


class Clean(NamedTuple):
    """A run without a fault: what it leaves, its exit status, and how many messages it has."""

    state: State
    status: int
    counts: dict[str, int]


class Trials:
    """The trials of one stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._clean: dict[str, Clean] = {}

    def clean(self, scenario: Scenario) -> Clean:
        """Run once without a fault."""
        if scenario.name not in self._clean:
            target = self.stage.target(scenario)
            self.stage.proxy.disarm()
            ended = self.stage.start(target, proxied=True).result(TIMEOUT + BOUND)
            counts = dict(self.stage.proxy.counts)
            assert self.stage.orphans_end(target)
            assert ended.status == 0, (scenario.name, ended)
            assert lies(ended, target, reachable=True) == [], (scenario.name, ended)
            self._clean[scenario.name] = Clean(state_of(self.stage, target), ended.status, counts)
            self.stage.drop(target)
        return self._clean[scenario.name]

    def points(self, scenario: Scenario, size: int | None, seed: object) -> list[Point]:
        """Return a sample of the points of a scenario's run, all of them without a size."""
        counts = self.clean(scenario).counts
        everything = [
            Point(side, number, before)
            for side in (FRONTEND, BACKEND)
            for number in range(1, counts[side] + 1)
            for before in (True, False)
        ]
        if size is None or size >= len(everything):
            return everything
        return random.Random(f"{scenario.name} {seed}").sample(everything, size)  # noqa: S311

    def take(self, scenario: Scenario, fault: Fault, point: Point, part: str = "") -> Finding:
        """Strike at a point, run again if need be, and judge."""
        clean, target = self.clean(scenario), self.stage.target(scenario)
        bystander = Bystander(target.database, holds=scenario.holds)
        with bystander:
            ended, reached = fault.strike(self.stage, target, point)
            self.stage.proxy.disarm()
            self.stage.answers()
            orphans_end = self.stage.orphans_end(target)
            wrong = lies(ended, target, reachable=fault.reachable)
            reruns = int(ended.status != clean.status and not target.is_done())
            if reruns:
                wrong += self.run_again(target, clean)
        wrong += harmed(bystander, spares=fault.spares)
        wrong += state_of(self.stage, target).differences(clean.state)
        self.stage.drop(target)
        stuck = not orphans_end or ended.seconds > fault.timeout + BOUND
        return Finding(part or fault.name, scenario.name, _place(point), tuple(wrong), stuck, reruns, ended.seconds, reached)

    def run_again(self, target: Target, clean: Clean) -> list[str]:
        """Run once more on a target, without a fault; return what is wrong with that."""
        again = self.stage.run(target)
        assert self.stage.orphans_end(target)
        return [] if again.status == clean.status else [f"the re-run failed: {again.out} {again.err}"]


def _place(point: Point) -> str:
    return f"{point.side}{point.message}{'<' if point.before else '>'}"


def harmed(bystander: Bystander, *, spares: bool) -> list[str]:
    """Return what the application has suffered; a commit that it was told of is kept whatever the fault is."""
    found = [f"the application lost {lost} commits"] if (lost := bystander.lost()) > 0 else []
    if spares:
        found += [f"the application: {error}" for error in bystander.errors]
        if bystander.longest > _STALL:
            found.append(f"the application stood still for {bystander.longest:.1f} s")
    return found
