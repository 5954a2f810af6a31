"""The rollback plan: what a rollback rolls back."""

from __future__ import annotations

import pytest
from migrator.errors import UnknownTarget
from migrator.history.rows import Recorded
from migrator.planning.rollback import plan_back_to, plan_rollback


def rows(*names: str, reverting: str = "") -> list[Recorded]:
    """Return rows in the order of application, their numbers those in their names, with gaps between positions."""
    return [
        Recorded(10 * index, f"{name}.sql", name.partition("_")[0], "reverting" if name == reverting else "applied")
        for index, name in enumerate(names, 1)
    ]


@pytest.mark.parametrize(
    ("names", "target", "steps", "taken", "goal"),
    [
        ("1_a 2_b 3_c", "", 1, "3_c", 20),
        ("1_a 2_b 3_c", "", 3, "3_c 2_b 1_a", 0),
        ("1_a 2_b 3_c", "base", 1, "3_c 2_b 1_a", 0),
        ("1_a 2_b 3_c", "1", 1, "3_c 2_b", 10),
        ("1_a 2_b 3_c", "001", 1, "3_c 2_b", 10),
        ("1_a 2_b 3_c", "2_b", 1, "3_c", 20),
        ("1_a 2_b 3_c", "3_c.sql", 1, "", 30),
        ("1_a 3_c 2_late", "3", 1, "2_late", 20),
        ("1_a 3_c 2_late", "2", 1, "", 30),
        ("1_a 1_b 2_c", "1", 1, "2_c", 20),
        ("1_a base 3_c", "base", 1, "3_c", 20),
    ],
)
def test_choice(names: str, target: str, steps: int, taken: str, goal: int) -> None:
    """What was applied after the target, or the last steps, the last first, and the position that is gone back to."""
    found = plan_rollback(rows(*names.split()), target, steps)
    assert [row.name for row in found.rows] == [f"{name}.sql" for name in taken.split()]
    assert found.goal == goal
    assert plan_back_to(rows(*names.split()), goal).rows == found.rows


@pytest.mark.parametrize(
    ("target", "steps", "said"),
    [("", 4, "4 steps back, and only 3 migrations applied"), ("9", 1, '"9" is not applied'), ("x.sql", 1, "is not applied"),
     ("'; --", 1, "is not applied"), ("9" * 200, 1, "is not applied")],
)  # fmt: skip
def test_what_cannot_be_chosen(target: str, steps: int, said: str) -> None:
    """Targets that are not applied, and more steps than there are, are refused."""
    with pytest.raises(UnknownTarget, match=said):
        plan_rollback(rows("1_a", "2_b", "3_c"), target, steps)


def test_nothing_is_applied() -> None:
    """Where nothing is applied there is nothing to roll back, which is no mistake; a target is one."""
    assert plan_rollback([], "", 2).rows == ()
    assert plan_rollback([], "base", 1).rows == ()
    with pytest.raises(UnknownTarget, match="the last ones: none"):
        plan_rollback([], "1", 1)


def test_half_rolled_back_row_does_not_stay() -> None:
    """A migration that is rolled back in part is rolled back first, before anything else, and cannot be what stays."""
    found = rows("1_a", "2_b", reverting="2_b")
    assert [row.name for row in plan_rollback(found, "", 1).rows] == ["2_b.sql"]
    with pytest.raises(UnknownTarget, match="in part"):
        plan_rollback(found, "2", 1)
