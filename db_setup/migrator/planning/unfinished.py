"""What a history has of files that are not run here: half-applied ones, and repeatable ones that are gone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from migrator.errors import InconsistentHistory, PlanError
from migrator.files import REPEATABLE, Migration
from migrator.history import AppliedMigration


class NotRunHere(NamedTuple):
    """What is to be said of rows whose files are not run here.

    ``gone`` are the repeatable files that the history is to run again should they come back.
    """

    warnings: tuple[str, ...] = ()
    problems: tuple[PlanError, ...] = ()
    gone: tuple[str, ...] = ()


def not_run_here(
    elsewhere: Mapping[str, AppliedMigration], applied: Sequence[AppliedMigration], repeatable: Sequence[Migration],
    others: Sequence[Migration], *, runs: bool,
) -> NotRunHere:  # fmt: skip
    """Return what is to be said; ``elsewhere`` has the rows of numbered files for other environments, by file name.

    Half-applied ones are problems where this run would apply files on top of them. Where it would not, as in a stack
    rollback to a package for no environment, they are warnings.
    """
    half = tuple(_half_applied(elsewhere, others))
    gone = gone_repeatables(applied, (*repeatable, *others))
    warnings = (
        *half_run_repeatables(applied, repeatable, others),
        *(f"{name} has no file any more: what it made stays, and it is run should it come back" for name in gone),
    )
    if runs:
        return NotRunHere(warnings, half, gone)
    return NotRunHere((*(f"{problem.what}; {problem.fix}" for problem in half), *warnings), (), gone)


def _half_applied(rows: Mapping[str, AppliedMigration], others: Sequence[Migration]) -> Iterator[PlanError]:
    for file in others:
        if file.name in rows and rows[file.name].state == "running":
            fix = f"run migrate with MIGRATION_ENV={_environment(file)}: it goes on where it stopped; or roll it back"
            yield InconsistentHistory(f"{file.name} is applied in part, and is for another environment", fix=fix)


def _environment(file: Migration) -> str:
    """Return an environment that a file is for: one that it names, or that of its folder, env/NAME."""
    return file.environments[0] if file.environments else file.name.split("/")[1]


def half_run_repeatables(
    applied: Sequence[AppliedMigration], files: Sequence[Migration], others: Sequence[Migration]
) -> list[str]:
    """Return a warning of each repeatable file that was run in part and is not run here: the next run finishes none."""
    here, elsewhere = {file.name for file in files}, {file.name: file for file in others}
    return [
        f"{row.name} is applied in part, and is for another environment: migrate with "
        f"MIGRATION_ENV={_environment(elsewhere[row.name])} goes on with it"
        if row.name in elsewhere
        else f"{row.name} is applied in part, and its file is missing: put back, it goes on where it stopped, as "
        "does migrate from a folder that has it; where it was deleted for good, repair forgets it, and what its steps "
        "made stays"
        for row in applied
        if row.name.startswith(REPEATABLE) and row.state == "running" and row.name not in here
    ]


def gone_repeatables(applied: Sequence[AppliedMigration], files: Sequence[Migration]) -> tuple[str, ...]:
    """Return the names of the repeatable files that have run, and are gone; what has no checksum runs again already."""
    here = {file.name for file in files}
    return tuple(
        row.name
        for row in applied
        if row.name.startswith(REPEATABLE) and row.state == "applied" and row.checksum and row.name not in here
    )
