"""Rows that the history has lost: what they say of files that are there."""

from __future__ import annotations

import pytest
from migrator.files.migration import Migration, split_name
from migrator.history.rows import AppliedMigration
from migrator.planning.plan import Policy, make_plan
from migrator.planning.removed import Removals, read_removals


def file(name: str) -> Migration:
    """Return a file with a text of its own."""
    return Migration(name, f"/m/{name}", f"sum of {name}", 1)


def row(name: str, number: str = "") -> AppliedMigration:
    """Return the row of a file that was applied."""
    return AppliedMigration(name, number or split_name(name)[0], f"sum of {name}", "applied")


BACK, FORGET = "rollback", "repair"
SQUASHED = (FORGET, {"001_a.sql": "001", "002_b.sql": "002"})
SETTLED = (FORGET, {"001_a.sql": None, "002_b.sql": None})


@pytest.mark.parametrize(
    ("runs", "rolled_back", "forgotten"),
    [
        ([], {}, {}),
        ([(BACK, {"a.sql": "001"})], {"a.sql": "001"}, {}),
        ([(FORGET, {"a.sql": "001"})], {}, {"a.sql": "001"}),
        ([(FORGET, {"a.sql": "001"}), (BACK, {"a.sql": "002"})], {"a.sql": "002"}, {}),
        ([(BACK, {"a.sql": "001"}), (FORGET, {"a.sql": "002"})], {}, {"a.sql": "002"}),
        ([(BACK, {"a.sql": "001"}), (BACK, {"a.sql": "003"})], {"a.sql": "003"}, {}),
        ([SQUASHED, SETTLED], {}, {}),
        ([(BACK, {"here.sql": "001"}), (FORGET, {"here.sql": "001"})], {}, {}),
    ],
)  # fmt: skip
def test_last_removal_counts(runs: Removals, rolled_back: dict[str, str], forgotten: dict[str, str]) -> None:
    """Of each file the last run that took its row counts, unless it is settled, or applied again."""
    found = read_removals(runs, [row("here.sql", "009")])
    assert (found.rolled_back, found.forgotten) == (rolled_back, forgotten)


@pytest.mark.parametrize(
    ("files", "runs", "stopped"),
    [
        (["001_all.sql"], [SQUASHED], ["001_all.sql"]),
        (["002_all.sql"], [SQUASHED], ["002_all.sql"]),
        (["002.1_all.sql"], [SQUASHED], []),
        (["001_a.sql"], [SQUASHED], ["001_a.sql"]),
        (["all.sql"], [SQUASHED], []),
        (["a.sql"], [(FORGET, {"a.sql": "001"})], ["a.sql"]),
        (["001_all.sql"], [(BACK, {"001_a.sql": "001"})], []),
        (["001_a.sql", "001.5_new.sql"], [SQUASHED, SETTLED], ["001_a.sql"]),
        (["001_a.sql"], [SQUASHED, SETTLED, (BACK, {"001_a.sql": "001"})], []),
        (["001_all.sql"], [SQUASHED, (BACK, {"001_all.sql": "001"})], []),
    ],
)  # fmt: skip
def test_files_that_may_stand_for_what_is_forgotten(files: list[str], runs: Removals, stopped: list[str]) -> None:
    """A new file with no higher number than what repair has forgotten stops the run, and so does one that is it."""
    applied = [row("009_here.sql")]
    here = [file(name) for name in ("009_here.sql", *files)]
    found = make_plan(here, applied, True, Policy(), removed=read_removals(runs, applied))
    assert [item.migration.name for item in found.replacements] == stopped
    assert [problem.what.partition(" ")[0] for problem in found.problems] == stopped
    assert (found.state == "inconsistent") == bool(stopped)


@pytest.mark.parametrize(
    ("files", "applied", "state"),
    [
        ("001_a 002_b 009_here", "001_all 009_here", "ahead"),
        ("001_a 009_here", "001_all 009_here", "ahead"),
        ("001_a 003_new 009_here", "001_all 009_here", "inconsistent"),
        ("009_here", "001_all 009_here", "inconsistent"),
        ("001_a 009_here", "009_here", "inconsistent"),
    ],
)  # fmt: skip
def test_package_from_before_a_squash(files: str, applied: str, state: str) -> None:
    """With the files that repair has forgotten, and without the one in their place, it is an older package."""
    rows = [row(f"{name}.sql") for name in applied.split()]
    here = [file(f"{name}.sql") for name in files.split()]
    assert make_plan(here, rows, True, Policy(), removed=read_removals([SQUASHED], rows)).state == state


@pytest.mark.parametrize(
    ("given", "applied", "todo"),
    [
        ("002", [], ["001_x.sql=001", "a.sql=002", "003_y.sql=003"]),
        ("002", ["001_x.sql"], ["a.sql=002", "003_y.sql=003"]),
        ("002", ["b.sql=002"], ["001_x.sql=001", "003_y.sql=003", "a.sql=004"]),
        ("", [], ["001_x.sql=001", "003_y.sql=003", "a.sql=004"]),
    ],
)  # fmt: skip
def test_place_of_a_file_that_was_rolled_back(given: str, applied: list[str], todo: list[str]) -> None:
    """An unnumbered file gets the number again that it had, and its place by that, unless it is taken meanwhile."""
    rows = [row(*name.split("=")) for name in applied]
    here = [file(name) for name in ("001_x.sql", "003_y.sql", "a.sql", *(["b.sql"] if "b.sql" in str(applied) else []))]
    removed = read_removals([(BACK, {"a.sql": given})] if given else [], rows)
    found = make_plan(here, rows, True, Policy(strict_order=not applied), removed=removed)
    assert [f"{item.migration.name}={item.number}" for item in found.pending] == todo
    assert found.problems == ()
