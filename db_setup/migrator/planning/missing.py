"""Rows of the history that have no file here: what is said of them. Pure.

Nothing in a history says which folder a row is of. Where no file here is in it, it is that of another folder; where
some are, a row may be another folder's, or its file is gone.
"""

from __future__ import annotations

from collections.abc import Sequence

from migrator.errors import InconsistentHistory, PlanError
from migrator.formatting import counted
from migrator.history import AppliedMigration

FIX_STRANGERS = (
    "set MIGRATIONS_DIR and the database that are meant, or put the files back; one database has one history, so what "
    "several folders have for it belongs into one of them, or each folder gets a database of its own; files that stand "
    "for others, as after a squash: see db_setup/README.md"
)
_FIX = (
    "put the file back as it was (its change is still in the database); where another folder has applied it, keep all "
    "migrations of a database in one folder, or give each a database; where it was deleted for good, repair shows what "
    "follows; ALLOW_MISSING=true is for development databases that branches share"
)
_FIX_IMPORT = (
    "put the file back as it was (its change is still in the database), or have repair forget it, and take over all "
    "other names: what it made stays, and a file of that name would be run"
)
_FIX_HALF = (
    "put the file back under this name, corrected where it failed: migrate goes on where it stopped; where another "
    "folder has begun it, migrate from that; else roll it back, or have repair forget it: what its steps made stays, "
    "and a file of that name would be run from the beginning"
)


def missing_files(missing: Sequence[AppliedMigration], strangers: int, *, importing: bool) -> list[PlanError]:
    """Return an error for each row without a file; a migration that is rolled back in part needs its file no more.

    ``strangers`` is how many files are here where none of these is in the history; that is said first.
    """
    fixes = {"applied": _FIX_IMPORT if importing else _FIX, "running": _FIX_HALF}
    left = [row for row in missing if row.state != "reverting"]
    if not strangers:
        return [InconsistentHistory(missing_file(row), fix=fixes[row.state]) for row in left]
    what = f"the history of this database is that of another folder: it has {counted(len(left))} without a file here, "
    texts = [f"{what}and none of the {strangers} here as it is", *map(missing_file, left)] if left else []
    return [InconsistentHistory(text, fix=FIX_STRANGERS) for text in texts]


def missing_file(row: AppliedMigration) -> str:
    """Return that a row has no file, and who applied it when, as far as that was read."""
    return f"{row.name} is applied{row.since}{row.origin}, and its file is missing"
