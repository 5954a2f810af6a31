"""Random walks: whatever is done to files and database, nothing runs twice, nothing is lost, and there is a way home.

A sample of the seeds; ``WALK_SEEDS=350`` takes so many. A walk that fails prints what it has done as ``STEPS``;
``WALK_STEPS`` with these words, and ``-k replay``, does it again.
"""

from __future__ import annotations

import ast
import os

import pytest

from tests.walk.found import FOUND
from tests.walk.walk import Walk, steps_of, take_all

SEEDS = int(os.environ.get("WALK_SEEDS", "24"))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_walk(walk: Walk, seed: int) -> None:
    """Nothing runs twice, nothing is lost, each answer says what is so, and each error leads home."""
    take_all(walk, steps_of(seed, walk.world), seed)


@pytest.mark.parametrize("name", FOUND)
def test_found(walk: Walk, name: str) -> None:
    """The same for walks that have failed once."""
    take_all(walk, FOUND[name], name)


if "WALK_STEPS" in os.environ:

    def test_replay(walk: Walk) -> None:
        """The same for the steps that were printed by a walk."""
        take_all(walk, ast.literal_eval(os.environ["WALK_STEPS"]), "replayed")
