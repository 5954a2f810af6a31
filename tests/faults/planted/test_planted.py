"""The patches that plant faults apply; ``make faults PLANTED=1`` shows that each of them is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.planted.plants import Plant, plants

PROJECT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("plant", plants(), ids=lambda plant: plant.name)
def test_patch_applies(plant: Plant) -> None:
    """What a patch takes back is there, and the test that finds it exists."""
    assert plant.why_not() == ""
    file, _, name = plant.test.partition("::")
    assert f"def {name.partition('[')[0]}(" in (PROJECT / file).read_text(encoding="utf-8")
