"""The fixture of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.crashes import Runs
from tests.plugins.databases import MakeDatabase
from tests.plugins.runs import Invoke
from tests.walk.walk import Walk


@pytest.fixture
def walk(tmp_path: Path, invoke: Invoke, runs: Runs, make_database: MakeDatabase) -> Iterator[Walk]:
    """Return a walk that is to begin."""
    made = Walk(tmp_path / "walk", invoke, runs, make_database)
    yield made
    made.world.session.close()
