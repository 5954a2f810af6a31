"""What a walk does not do yet, since it finds a fault that is known."""

from __future__ import annotations

from collections.abc import Callable

from tests.walk.files import file_of
from tests.walk.world import World

Word = str | int
Step = tuple[Word, ...]


def _moves_half(world: World, step: Step) -> bool:
    """Return whether a file is renamed or deleted that is applied, or rolled back, in part."""
    row = world.rows.get(file_of(str(step[1]))) if step[0] in {"rename", "delete"} else None
    return row is not None and row.state != "applied"


def _rolls_back_renamed(world: World, step: Step) -> bool:
    """Return whether a stepwise file is rolled back whose new name the history does not know yet."""
    renamed = [row for row in world.rows.values() if row.mode == "stepwise" and row.name not in world.files]
    return step[0] in {"rollback", "kill_rollback"} and bool(renamed)


def _looks_for_narrowed(_world: World, step: Step) -> bool:
    """Return whether files are looked for that an edit has made files of another environment."""
    return step[0] == "look_for_narrowed"


def _asks_again(world: World, step: Step) -> bool:
    """Return whether a rollback is asked for again that was killed after its success was recorded."""
    return step[0] == "ask_again" and world.goal is None and sorted(world.versioned()) == list(step[1:])


def _fills_after_a_history(world: World, step: Step) -> bool:
    """Return whether files are run by hand where a deploy that was killed has left an empty history."""
    return step[0] == "by_hand" and bool(world.query("SELECT pg_catalog.to_regclass('db_setup.history') WHERE pg_catalog.to_regclass('db_setup.history') IS NOT NULL"))


def _verifies_without_repeatable(world: World, step: Step) -> bool:
    """Return whether a database is verified for which a repeatable file was run that is gone."""
    gone = [row for row in world.rows.values() if row.name.startswith("repeatable/") and row.name not in world.files]
    return step[0] == "verify" and bool(gone)


_NOT_YET: dict[str, Callable[[World, Step], bool]] = {}
"""What a walk does not do yet, since it finds a fault that is known; a line goes when its fault is mended."""


def avoided(world: World, step: Step) -> bool:
    """Return whether a step is one that finds what is known."""
    return any(is_such(world, step) for is_such in _NOT_YET.values())
