"""A sample of the mutants: chosen by a seed, as many of each package, tried side by side."""

from __future__ import annotations

import queue
import random
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from tests.mutants.mutations import Mutant, is_fault, mutants
from tests.mutants.selection import Selection
from tests.mutants.tree import PACKAGES, PROJECT, modules
from tests.mutants.trial import SURVIVED, Workplace


class Tried(NamedTuple):
    """A mutant with what became of it, the tests that were run, of how many, and the end of what pytest said."""

    package: str
    mutant: Mutant
    outcome: str
    tests: int
    of: int
    said: str


@cache
def source_of(path: str) -> str:
    """Return the text of a module, the same throughout, though somebody may edit it meanwhile."""
    return (PROJECT / path).read_text(encoding="utf-8")


def choose(seed: str, count: int, only: list[str]) -> list[tuple[str, Mutant]]:
    """Return mutants: of each package as many, up to ``count`` in all; ``only`` names packages, files or ``file:line``."""
    packages = [package for package in PACKAGES if not only or any(f"/{package}/" in f"/{each}/" for each in only)]
    chosen: list[tuple[str, Mutant]] = []
    for number, package in enumerate(packages):
        found = [mutant for path in modules(package) for mutant in mutants(path, source_of(path)) if _wanted(mutant, package, only)]
        random.Random(f"{seed}/{package}").shuffle(found)  # noqa: S311 - to be repeated, not to be secret
        share = count // len(packages) + (number < count % len(packages))
        chosen += [(package, mutant) for mutant in _faults(found, share)]
    return chosen


def _wanted(mutant: Mutant, package: str, only: list[str]) -> bool:
    place = f"{mutant.path}:{mutant.line}"
    return not only or any(each == package or place.endswith(each) or mutant.path.endswith(each) for each in only)


def _faults(found: list[Mutant], count: int) -> Iterator[Mutant]:
    """Yield the first mutants that are faults: others are no program, or the same one."""
    for mutant in found:
        if count and is_fault(mutant, source_of(mutant.path)):
            count -= 1
            yield mutant


def try_all(chosen: list[tuple[str, Mutant]], selection: Selection, jobs: int, limit: float) -> Iterator[Tried]:
    """Yield what becomes of each mutant, ``jobs`` at a time, each tried with at most ``limit`` seconds of tests."""
    waiting: queue.SimpleQueue[tuple[str, Mutant, dict[str, float]] | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[Tried | BaseException] = queue.SimpleQueue()
    for package, mutant in chosen:
        waiting.put((package, mutant, selection.tests(mutant.path, mutant.line)))
    for _ in range(jobs):
        waiting.put(None)
    stopped = threading.Event()

    def work() -> None:
        try:
            with Workplace() as workplace:
                while (item := waiting.get()) is not None and not stopped.is_set():
                    done.put(_try(workplace, *item, limit))
        except BaseException as problem:  # noqa: BLE001 - raised again where the results are read
            done.put(problem)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    try:
        for number in range(len(chosen)):
            result = done.get()
            if isinstance(result, BaseException):
                raise result
            place = f"{result.mutant.path}:{result.mutant.line}"
            print(f"{number + 1}/{len(chosen)} {result.outcome}: {place}", file=sys.stderr, flush=True)
            yield result
    finally:
        stopped.set()
        for worker in workers:
            worker.join()


def _try(workplace: Workplace, package: str, mutant: Mutant, found: dict[str, float], limit: float) -> Tried:
    run = _within(found, limit)
    if not run:
        return Tried(package, mutant, SURVIVED, 0, 0, "no test runs this line")
    result = workplace.try_out(mutant.path, mutant.apply(source_of(mutant.path)), run)
    return Tried(package, mutant, result.outcome, len(run), len(found), result.output[-1500:])


def _within(found: Mapping[str, float], limit: float) -> dict[str, float]:
    """Return the tests that fit into the time, in their order; the quickest in any case."""
    run: dict[str, float] = {}
    for test, seconds in found.items():
        if sum(run.values()) + seconds <= limit:
            run[test] = seconds
    return run or dict([min(found.items(), key=lambda each: each[1])]) if found else {}
