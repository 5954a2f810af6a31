"""A bounded sample of the campaign, by the same code; ``make faults`` takes all of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from migrator.cli.local_server import LocalServer

from tests.faults import mixture, parallel, pooler, resources, strikes
from tests.faults.scenarios import ALL, BY_NAME, Scenario
from tests.faults.stage import Stage
from tests.faults.trial import Finding, Trials
from tests.plugins import pgbouncer

MORE = {
    "files": (strikes.FREEZE,),
    "new database": (strikes.BLACK_HOLE,),
    "mixed": (strikes.BLACK_HOLE, strikes.RESTART),
    "session state": (strikes.FREEZE,),
    "indexes": (strikes.RESTART,),
    "blocks": (resources.SLOTS,),
    "locks": (strikes.RESTART,),
    "rollback to target": (strikes.BLACK_HOLE,),
    "deploy to tables": (strikes.RESTART,),
    "adopt": (resources.LOCK_TABLE,),
    "verify": (strikes.BLACK_HOLE,),
    "status": (strikes.BLACK_HOLE,),
    "users": (strikes.RESTART,),
}
"""The faults that take longer, by the scenario that meets one in the sample."""


@pytest.fixture(scope="session")
def trials(scratch: Path, server: LocalServer) -> Iterator[Trials]:
    """Return the trials on a stage of this worker's own."""
    with Stage(scratch / f"faults{os.environ.get('PYTEST_XDIST_WORKER', '')}", str(server.binaries.folder)) as stage:
        yield Trials(stage)


def check(finding: Finding) -> None:
    """Fail where the oracle says so."""
    assert (finding.wrong, finding.stuck) == ((), False), finding


@pytest.mark.parametrize("scenario", ALL, ids=str)
def test_killed_or_cut(trials: Trials, scenario: Scenario) -> None:
    """After kill -9 or a cut connection at any message, and at most one re-run, all is as without it; each answer is true.

    So it is with a network that lets nothing through, and a server that stands still, is restarted, or is full.
    """
    for fault, size in ((strikes.KILL, 2), (strikes.CUT, 1), *((fault, 1) for fault in MORE.get(scenario.name, ()))):
        for point in trials.points(scenario, size, fault.name):
            check(trials.take(scenario, fault, point))


@pytest.mark.parametrize(("number", "seed"), [(2, 1), (8, 2), (32, 3)])
def test_runners_started_at_once(trials: Trials, number: int, seed: int) -> None:
    """Each file is applied once, every runner that lives succeeds, and the answers add up to what was done."""
    check(parallel.side_by_side(trials, BY_NAME["new database"], number, seed, "at once"))


def test_overlapping_deploys(trials: Trials) -> None:
    """A deploy invoked three times makes one set of changes, and three answers that are true."""
    check(parallel.side_by_side(trials, BY_NAME["mixed"], 3, 1, "overlapping", overlap=True))


@pytest.mark.skipif(pgbouncer.lacks() != "", reason=pgbouncer.lacks())
@pytest.mark.parametrize(("mode", "name"), [("session", "blocks"), ("transaction", "files")])
def test_behind_a_pooler(trials: Trials, mode: str, name: str) -> None:
    """A run behind PgBouncer that is killed or cut off has the same end and as true an answer as any other."""
    with pooler.between(trials.stage, mode):
        pooled = Trials(trials.stage)
        for fault in (strikes.KILL, strikes.CUT):
            for point in pooled.points(BY_NAME[name], 1, fault.name):
                check(pooled.take(BY_NAME[name], fault, point))


@pytest.mark.parametrize("seed", [3, 5])
def test_mixture(trials: Trials, seed: int) -> None:
    """Files, faults and timing of a seed's choice: the same database, and true answers."""
    check(mixture.take(trials, mixture.Mixture.of(seed), f"seed {seed}"))


@pytest.mark.parametrize("number", range(len(mixture.kept())))
def test_kept_mixture(trials: Trials, number: int) -> None:
    """The same for mixtures that have failed once."""
    check(mixture.take(trials, mixture.kept()[number], f"kept {number}"))
