"""What a history has of files that are not run here: half-applied ones, and repeatable ones that are gone. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from migrator.errors import InconsistentHistory, PlanError
from migrator.files import REPEATABLE, Migration
from migrator.history import AppliedMigration


def half_applied_elsewhere(rows: Mapping[str, AppliedMigration], others: Sequence[Migration]) -> list[PlanError]:
    """Return an error for each half-applied row of a file for other environments; ``rows`` by the name of the file."""
    return [
        InconsistentHistory(
            f"{file.name} is applied in part, and is for another environment",
            fix=f"run migrate with MIGRATION_ENV={_environment(file)}: it goes on where it stopped; or roll it back",
        )
        for file in others
        if file.name in rows and rows[file.name].state == "running"
    ]


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
        else f"{row.name} is applied in part, and its file is missing: put back, it goes on where it stopped; or "
        "repair forgets it, and what its steps made stays"
        for row in applied
        if row.name.startswith(REPEATABLE) and row.state == "running" and row.name not in here
    ]


def gone_repeatables(applied: Sequence[AppliedMigration], files: Sequence[Migration]) -> tuple[str, ...]:
    """Return the names of the repeatable files that have run, and are gone, of whichever environment.

    What the history has no text of is to be run again already.
    """
    here = {file.name for file in files}
    return tuple(
        row.name
        for row in applied
        if row.name.startswith(REPEATABLE) and row.state == "applied" and row.checksum and row.name not in here
    )
