"""unfinished: what is said of rows whose files are not run here."""

from __future__ import annotations

import pytest
from migrator.files.migration import Migration
from migrator.history.rows import AppliedMigration
from migrator.planning.unfinished import half_run_repeatables, not_run_here


def files(names: str) -> list[Migration]:
    """Return files; one with @ in its name is for the environment behind it."""
    pairs = [name.partition("@") for name in names.split()]
    return [Migration(f"{name}.sql", "", "sum", 1, environments=(env,) if env else ()) for name, _, env in pairs]


def rows(names: str) -> list[AppliedMigration]:
    """Return rows; with ! half applied, with ? of an unknown text."""
    state = {"!": "running", "?": "applied"}
    return [
        AppliedMigration(f"{name.rstrip('!?')}.sql", "", "" if name.endswith("?") else "sum", state.get(name[-1], "applied"))
        for name in names.split()
    ]


@pytest.mark.parametrize(
    ("here", "others", "applied", "gone"),
    [
        ("repeatable/v", "", "repeatable/v", ""),
        ("", "", "repeatable/v 001_a", "repeatable/v"),
        ("", "", "repeatable/v? 001_a", ""),
        ("", "", "repeatable/v!", ""),
        ("", "repeatable/v@dev", "repeatable/v", ""),
        ("repeatable/w", "", "repeatable/v repeatable/w repeatable/x", "repeatable/v repeatable/x"),
    ],
    ids=["here", "gone", "known-to-be-gone", "half-run", "elsewhere", "one-of-several"],
)
def test_repeatable_files_that_are_gone(here: str, others: str, applied: str, gone: str) -> None:
    """A repeatable file is gone when no environment has it, and the history still has its text."""
    found = not_run_here({}, rows(applied), files(here), files(others), runs=True)
    assert found.gone == tuple(f"{name}.sql" for name in gone.split())
    assert len([text for text in found.warnings if "no file any more" in text]) == len(found.gone)


@pytest.mark.parametrize(
    ("others", "applied", "said"),
    [
        ("", "repeatable/v", []), ("", "repeatable/v!", ["its file is missing: put back"]), ("", "001_a!", []),
        ("repeatable/v@dev", "repeatable/v!", ["MIGRATION_ENV=dev goes on with it"]),
    ],
    ids=["whole", "missing", "numbered", "elsewhere"],
)  # fmt: skip
def test_half_run_repeatable_files(others: str, applied: str, said: list[str]) -> None:
    """One that was run in part and is not run here is named, with the way to finish it."""
    found = half_run_repeatables(rows(applied), files("repeatable/w"), files(others))
    assert [text.startswith("repeatable/v.sql is applied in part") for text in found] == [True] * len(said)
    assert all(part in text for part, text in zip(said, found, strict=True))


@pytest.mark.parametrize("name", ["002_b@dev", "env/dev/002_b"])
@pytest.mark.parametrize("runs", [True, False])
def test_half_applied_file_of_another_environment(name: str, runs: bool) -> None:
    """It is a problem where files would be applied on top of it, else a warning, and names its environment."""
    others = files(name)
    found = not_run_here({others[0].name: rows("002_b!")[0]}, (), (), others, runs=runs)
    said = [problem.fix for problem in found.problems] if runs else list(found.warnings)
    assert (len(found.problems), len(found.warnings)) == ((1, 0) if runs else (0, 1))
    assert "MIGRATION_ENV=dev: it goes on" in said[0]
    assert not_run_here({others[0].name: rows("002_b")[0]}, (), (), others, runs=runs) == ((), (), ())
