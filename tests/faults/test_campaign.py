"""A bounded sample of the campaign, by the same code; ``make faults`` takes all of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from migrator.cli.local_server import LocalServer

from tests.faults import mixture, parallel, strikes
from tests.faults.scenarios import ALL, BY_NAME, Scenario
from tests.faults.stage import Stage
from tests.faults.trial import Fault, Finding, Trials

SILENT = ["new database", "mixed", "rollback to target", "rotate", "verify", "status"]
"""The scenarios whose server falls silent: each point takes seconds."""
FROZEN, RESTARTED = ["files", "session state", "adopt"], ["mixed", "indexes", "blocks", "users", "locks"]


@pytest.fixture(scope="session")
def trials(scratch: Path, server: LocalServer) -> Iterator[Trials]:
    """Return the trials on a stage of this worker's own."""
    with Stage(scratch / f"faults{os.environ.get('PYTEST_XDIST_WORKER', '')}", str(server.binaries.folder)) as stage:
        yield Trials(stage)


def check(finding: Finding) -> None:
    """Fail where the oracle says so."""
    assert (finding.wrong, finding.stuck) == ((), False), finding


def take(trials: Trials, scenario: Scenario, fault: Fault, size: int) -> None:
    """Strike at a sample of the points of a scenario."""
    for point in trials.points(scenario, size, fault.name):
        check(trials.take(scenario, fault, point))


@pytest.mark.parametrize("scenario", ALL, ids=str)
def test_killed_runner(trials: Trials, scenario: Scenario) -> None:
    """Kill -9 at any message, then at most one re-run: the same database as without the kill, and nobody was harmed."""
    take(trials, scenario, strikes.KILL, 2)


@pytest.mark.parametrize("scenario", ALL, ids=str)
def test_cut_connection(trials: Trials, scenario: Scenario) -> None:
    """A connection cut before or after any message: the run goes on by another, and its answer is right."""
    take(trials, scenario, strikes.CUT, 2)


@pytest.mark.parametrize("scenario", SILENT)
def test_black_hole(trials: Trials, scenario: str) -> None:
    """A network that lets nothing through from any message on ends the run in time, with the truth about it."""
    take(trials, BY_NAME[scenario], strikes.BLACK_HOLE, 1)


@pytest.mark.parametrize("scenario", FROZEN)
def test_frozen(trials: Trials, scenario: str) -> None:
    """A server that stands still at any message, for a while or for good, ends the run in time, with the truth about it."""
    take(trials, BY_NAME[scenario], strikes.FREEZE, 1)


@pytest.mark.parametrize("scenario", RESTARTED)
def test_restarted_server(trials: Trials, scenario: str) -> None:
    """A server that is restarted, or crashes, inside a run ends with what an undisturbed run leaves."""
    take(trials, BY_NAME[scenario], strikes.RESTART, 2)


@pytest.mark.parametrize(("number", "seed"), [(2, 1), (8, 2), (8, 3), (32, 4)])
def test_runners_started_at_once(trials: Trials, number: int, seed: int) -> None:
    """Each file is applied once, every runner that lives succeeds, and the answers add up to what was done."""
    check(parallel.side_by_side(trials, BY_NAME["new database"], number, seed, "at once"))


@pytest.mark.parametrize("seed", [1, 2])
def test_overlapping_deploys(trials: Trials, seed: int) -> None:
    """A deploy invoked three times makes one set of changes, and three answers that are true."""
    check(parallel.side_by_side(trials, BY_NAME["mixed"], 3, seed, "overlapping", overlap=True))


@pytest.mark.parametrize("seed", range(1, 4))
def test_mixture(trials: Trials, seed: int) -> None:
    """Files, faults and timing of a seed's choice: the same database, and true answers."""
    check(mixture.take(trials, mixture.Mixture.of(seed), f"seed {seed}"))


@pytest.mark.parametrize("number", range(len(mixture.kept())))
def test_kept_mixture(trials: Trials, number: int) -> None:
    """The same for mixtures that have failed once."""
    check(mixture.take(trials, mixture.kept()[number], f"kept {number}"))
