"""What a walk does not do yet, since it finds a fault that is known."""

from __future__ import annotations

from collections.abc import Callable

from tests.walk.world import World

Word = str | int
Step = tuple[Word, ...]

_NOT_YET: dict[str, Callable[[World, Step], bool]] = {}
"""What a walk does not do yet, since it finds a fault that is known; a line goes when its fault is mended."""


def avoided(world: World, step: Step) -> bool:
    """Return whether a step is one that finds what is known."""
    return any(is_such(world, step) for is_such in _NOT_YET.values())
