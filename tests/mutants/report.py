"""What became of a sample: a line for each package, and every mutant that was not simply killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.mutants.sample import Tried, source_of
from tests.mutants.trial import KILLED, SURVIVED, TIMED_OUT

TARGET = 90
"""Percent of a package's sample that the tests have to notice, by a failure or by running out of time."""


def report(tried: Sequence[Tried]) -> tuple[str, bool]:
    """Return the report, and whether the target is reached in each package."""
    lines = [f"{'package':<12}{'sampled':>8}{'killed':>8}{'timed out':>11}{'survived':>10}{'noticed':>9}"]
    reached = True
    for package in dict.fromkeys(each.package for each in tried):
        outcomes = Counter(each.outcome for each in tried if each.package == package)
        share = 100 * (outcomes[KILLED] + outcomes[TIMED_OUT]) / outcomes.total()
        reached = reached and share >= TARGET
        lines.append(
            f"{package:<12}{outcomes.total():>8}{outcomes[KILLED]:>8}{outcomes[TIMED_OUT]:>11}{outcomes[SURVIVED]:>10}{share:>8.1f}%"
        )
    for outcome in (SURVIVED, TIMED_OUT):
        found = sorted((each for each in tried if each.outcome == outcome), key=lambda each: each.mutant)
        lines += [f"\n{outcome}:"] * bool(found) + [_described(each) for each in found]
    return "\n".join(lines), reached


def _described(tried: Tried) -> str:
    ran = f"{tried.tests} of the {tried.of} tests that run it" if tried.of else tried.said
    return f"{tried.mutant.path}:{tried.mutant.line} ({ran})\n{tried.mutant.diff(source_of(tried.mutant.path))}"
