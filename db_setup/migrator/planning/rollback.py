"""The plan of a rollback: which migrations are rolled back, in the reverse order of their application. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from migrator.errors import UnknownTarget
from migrator.files import parse_number
from migrator.formatting import counted
from migrator.history import Recorded
from migrator.planning.plan import target_number

BASE = "base"
"""The target before the first migration."""


class RollbackPlan(NamedTuple):
    """What is rolled back, the last first, the position that is gone back to, and warnings."""

    rows: tuple[Recorded, ...]
    goal: int
    warnings: tuple[str, ...] = ()


def plan_rollback(rows: Sequence[Recorded], target: str, steps: int) -> RollbackPlan:
    """Return what was applied after the target, or the last ``steps``; ``rows`` come in the order of application.

    Raises UnknownTarget where the target is not applied, or fewer migrations are than are to be rolled back; where
    none is at all, nothing is rolled back.
    """
    stay = _index_behind(rows, target) if target else len(rows) - steps
    if not rows and not target:
        return RollbackPlan((), 0)
    if stay < 0:
        raise UnknownTarget(
            f"{steps} steps back, and only {counted(len(rows))} applied",
            fix='ask for fewer steps, or for target "base"',
        )
    kept, taken = rows[:stay], rows[stay:]
    if half := [row.name for row in kept if row.state == "reverting"]:
        raise UnknownTarget(
            f"{half[0]} is rolled back in part, so it cannot stay", fix="run rollback with a target below it"
        )
    return RollbackPlan(tuple(reversed(taken)), kept[-1].position if kept else 0, _warnings(kept, taken, target))


def plan_back_to(rows: Sequence[Recorded], goal: int) -> RollbackPlan:
    """Return what is still to be rolled back on the way to a position."""
    return RollbackPlan(tuple(row for row in reversed(rows) if row.position > goal), goal)


def _index_behind(rows: Sequence[Recorded], target: str) -> int:
    """Return the index behind the last row that a target names."""
    number = target_number(target)
    names = (target, f"{target}.sql")
    for found in ([row.name in names for row in rows], [parse_number(row.number) == number for row in rows]):
        if True in found:
            return len(rows) - found[::-1].index(True)
    if target == BASE:
        return 0
    known = ", ".join(row.number or row.name for row in rows[-5:]) or "none"
    raise UnknownTarget(
        f'"{target}" is not applied, so nothing can go back to it',
        fix=f'use the number or the name of an applied migration, or "base"; the last ones: {known}',
    )


def _warnings(kept: Sequence[Recorded], taken: Sequence[Recorded], target: str) -> tuple[str, ...]:
    unfinished = (row.name for row in taken if row.state == "running")
    half = [f"{name} is applied in part; its down migration runs on what is there" for name in unfinished]
    if not target or not kept:
        return tuple(half)
    rank = parse_number(kept[-1].number)
    higher = [row.name for row in kept if parse_number(row.number) > rank]
    return (*half, *(f"{name} was applied before {kept[-1].name}, and stays" for name in higher))
