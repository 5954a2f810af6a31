"""What a measurement says."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Timed(NamedTuple):
    """What is known of one test: its node id, how long it takes, and whether it starts runs that tests share."""

    id: str
    seconds: float
    shared: bool


class Measured(NamedTuple):
    """The tests that succeed, those that fail as they stand, and which of the first run a line of a file."""

    tests: dict[str, Timed]
    failing: list[str]
    ran: dict[str, dict[int, set[str]]]
    data: list[Path]
