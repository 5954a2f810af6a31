"""Files that another tool would not run forward, as the plan has them: pending ones are refused, others warned of.

Imported late, for folders with a name or a line that is worth the look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from migrator.errors import PlanError
from migrator.files import Folder, Migration
from migrator.files.foreign import FORWARD_ONLY, foreign_name
from migrator.planning import states
from migrator.planning.plan import Plan
from migrator.scripts import down_section


def foreign_files(folder: Folder) -> dict[str, PlanError]:
    """Return the error of each file of a folder that another tool would not run forward, by its name.

    Raises UnreadableFile.
    """
    files = {file.name: file for file in (*folder.files, *folder.repeatable)}
    found = ((file.name, foreign_file(file, files)) for file in folder.suspects)
    return {name: error for name, error in found if error is not None}


def foreign_file(file: Migration, files: Mapping[str, Migration]) -> PlanError | None:
    """Return the error for one file, by its name or by a mark in it; ``files`` are all those of the folder."""
    return foreign_name(file, files) or down_section(file)


def without_foreign_files(
    plan: Plan, folder: Folder, make: Callable[[Sequence[Migration], Sequence[Migration]], Plan]
) -> Plan:
    """Return a plan with a problem for each pending file that is not to be run forward, and warnings of the others.

    ``make`` makes the plan of the files that are left, so that those say nothing of numbers that are taken twice.
    """
    found = foreign_files(folder)
    pending = {item.migration.name for item in (*plan.pending, *plan.held_back)}
    refused = tuple(error for name, error in found.items() if name in pending)
    if refused:
        left = {file for file in (*folder.files, *folder.repeatable) if file.name not in pending.intersection(found)}
        plan = make(*([file for file in files if file in left] for files in (folder.files, folder.repeatable)))
        plan = plan._replace(state=states.INCONSISTENT, problems=(*refused, *plan.problems))
    warnings = (_of_applied(error) for name, error in found.items() if name not in pending)
    return plan._replace(warnings=(*plan.warnings, *warnings))


def _of_applied(error: PlanError) -> str:
    return f"{error.what}; it is applied here, and a new database would refuse it: {FORWARD_ONLY} says that it is meant"
