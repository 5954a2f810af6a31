"""Runners side by side on one database, some of which are killed; invocations of one deploy that overlap."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.faults.bystander import Bystander
from tests.faults.oracle import lies_of_many, state_of
from tests.faults.runner import Ended, Runner
from tests.faults.scenarios import Scenario
from tests.faults.stage import BOUND, TIMEOUT, Stage, Target
from tests.faults.trial import Finding, Trials, harmed

_SPREAD = 0.4  # seconds over which invocations begin, and runners are killed


def side_by_side(trials: Trials, scenario: Scenario, number: int, seed: int, part: str, *, overlap: bool = False) -> Finding:
    """Start so many runs, at once or one after another, and kill a quarter of them where the seed is odd.

    Those that live succeed, and say together what was done; nothing is done twice, and no re-run is needed.
    """
    chance = random.Random(f"{scenario.name} {number} {seed}")  # noqa: S311
    clean, stage = trials.clean(scenario), trials.stage
    target = stage.target(scenario)
    with Bystander(target.database, holds=scenario.holds) as bystander, ThreadPoolExecutor(number) as pool:
        runners = list(_started(stage, target, number, chance, overlap=overlap))
        doomed = chance.sample(runners, max(1, number // 4)) if seed % 2 else []
        results = [pool.submit(runner.result, TIMEOUT + BOUND) for runner in runners]
        for runner in doomed:
            time.sleep(chance.uniform(0, _SPREAD / len(doomed)))
            runner.kill()
        ended = [result.result() for result in results]
        orphans_end = stage.orphans_end(target)
        wrong = lies_of_many(ended, target)
        wrong += [f"a runner failed: {each.out} {each.err}" for each in ended if not each.killed and each.status != clean.status]
    reruns = int(all(each.killed for each in ended))
    if reruns:
        wrong += trials.run_again(target, clean)
    wrong += harmed(bystander, spares=True) + state_of(stage, target).differences(clean.state)
    stage.drop(target)
    return _finding(part, scenario, f"{number} seed {seed}", wrong, ended, orphans_end=orphans_end, reruns=reruns)


def _started(stage: Stage, target: Target, number: int, chance: random.Random, *, overlap: bool) -> Iterator[Runner]:
    for _ in range(number):
        yield stage.start(target)
        if overlap:
            time.sleep(chance.uniform(0, _SPREAD))


def _finding(
    part: str, scenario: Scenario, at: str, wrong: list[str], ended: list[Ended], *, orphans_end: bool, reruns: int
) -> Finding:
    longest = max(each.seconds for each in ended)
    return Finding(part, scenario.name, at, tuple(wrong), not orphans_end or longest > TIMEOUT + BOUND, reruns, longest)
