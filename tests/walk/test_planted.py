"""The walk can fail: a fault that is planted in the product is found within a few seeds."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import migrator.actions.repair
import migrator.actions.rollback
import migrator.adoption.adoption
import migrator.adoption.search
import migrator.execution
import migrator.execution.fence
import pytest
from migrator.history import ApplyRecord, StepProgress

from tests.plugins.crashes import Runs
from tests.plugins.databases import MakeDatabase
from tests.plugins.runs import Invoke
from tests.walk.not_yet import Step
from tests.walk.walk import Walk, steps_of, take_all

MOST_SEEDS = 40
Function = Callable[..., Any]


def begins_anew(original: Function) -> Function:
    """Have a stepwise file that goes on begin anew."""

    def planted(*words: Any) -> StepProgress:
        original(*words)
        return StepProgress()

    return planted


def runs_no_late_file(original: Function) -> Function:
    """Record a late file without running it."""

    def planted(*words: Any) -> Any:
        work = original(*words)
        return work._replace(script=work.script._replace(read=list)) if work.pending.late else work

    return planted


def loses_a_row(original: Function) -> Function:
    """Have repair forget the first file as well, where it accepts another one."""

    def planted(*words: Any) -> Any:
        changes = original(*words)
        gone = "DELETE FROM db_setup.history WHERE position = (SELECT min(position) FROM db_setup.history)"
        return [*changes[:-1], changes[-1]._replace(sql=f"{changes[-1].sql}; {gone}")] if changes else changes

    return planted


def goes_too_far(original: Function) -> Function:
    """Have a rollback by two steps roll back a third one."""

    def planted(rows: Any, target: str, steps: int) -> Any:
        return original(rows, target, 3 if steps == 2 and len(rows) > 2 else steps)

    return planted


def adopts_all(original: Function) -> Function:
    """Take every file for proven, whatever the database has."""

    def planted(context: Any, live: Any, items: Any) -> Any:
        return original(context, live, items)._replace(applied=len(items), unchanging=0, failure=None)

    return planted


def compares_no_definitions(original: Function) -> Function:
    """Compare views by their names only."""

    def planted(*words: Any, **named: Any) -> Any:
        found = original(*words, **named)
        return {key: entry._replace(definition="") if entry.kind == "view" else entry for key, entry in found.items()}

    return planted


def watches_what_was_pending(original: Function) -> Function:
    """Let a file that an adoption has not seen change what was there."""

    def planted(connection: Any, fence: Any, *words: Any) -> Any:
        return original(connection, fence._replace(others=(), last="", foreign=()), *words)

    return planted


@pytest.mark.parametrize(
    ("place", "name", "plant", "first", "found"),
    [
        (ApplyRecord, "open", begins_anew, 12, "was run up twice"),
        (migrator.execution, "work_of", runs_no_late_file, 3, "is recorded as applied, and only [] of it have run"),
        (migrator.actions.repair, "_changes", loses_a_row, 29, "_f0_log.sql is lost"),
        (migrator.actions.rollback, "plan_rollback", goes_too_far, 14, "rolled back too much"),
    ],
)
def test_planted_fault_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, invoke: Invoke, runs: Runs, make_database: MakeDatabase,
    place: object, name: str, plant: Callable[[Function], Function], first: int, found: str,
) -> None:  # fmt: skip
    """A double run, a record of what has not run, a lost row and a step too many are found, each by its own words."""
    monkeypatch.setattr(place, name, plant(getattr(place, name)))
    for seed in range(first, first + MOST_SEEDS):  # the first one finds it, as things stand
        walk = Walk(tmp_path / str(seed), invoke, runs, make_database)
        try:
            take_all(walk, steps_of(seed, walk.world), seed)
        except AssertionError as error:
            assert found in str(error)  # noqa: PT017 - a seed may also find nothing
            return
        finally:
            walk.world.session.close()
    pytest.fail(f"{MOST_SEEDS} seeds have not found it")


_BEGIN: Step = ("begin", "{:03d}_f0_log.sql")
_VIEW: Step = ("add", "repeatable/f1.sql", "view", -1, "", "")


@pytest.mark.parametrize(
    ("place", "name", "plant", "steps", "found"),
    [
        (
            migrator.adoption.adoption, "search", adopts_all,
            [("add", "005_f1.sql", "lenient", -1, "", ""), ("home", "restore"), ("lose_history",),
             ("add", "010_f2.sql", "lenient", -1, "", ""), ("adopt",)],
            "010_f2.sql was recorded as adopted, and has not run",
        ),
        (
            migrator.adoption.search, "read_catalog", compares_no_definitions,
            [_VIEW, ("home", "restore"), ("lose_history",), ("edit", "repeatable/f1.sql", "head", 0), ("adopt",)],
            "repeatable/f1.sql was recorded as adopted, and what it makes is not there",
        ),
        (
            migrator.execution.fence.FileFence, "holds", watches_what_was_pending,
            [("add", "env/dev/001_f1.sql", "anew", -1, "", ""), ("home", "restore"), ("environment", "dev"),
             ("home", "restore"), ("customers",), ("lose_history",), ("older", 0), ("home", "restore")],
            "rows of customers are lost from t1",
        ),
    ],
)  # fmt: skip
def test_planted_adoption_is_found(
    monkeypatch: pytest.MonkeyPatch, walk: Walk, place: object, name: str,
    plant: Callable[[Function], Function], steps: list[Step], found: str,
) -> None:  # fmt: skip
    """A record of a file that has not run here, or has made something else, and a table that is dropped, are found."""
    monkeypatch.setattr(place, name, plant(getattr(place, name)))
    with pytest.raises(AssertionError, match=re.escape(found)):
        take_all(walk, [_BEGIN, *steps], "planted")
