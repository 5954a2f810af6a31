"""Baselines: what a person says is applied, recorded without reading the database; and a wrong one put right.

Rows of migrations that were not run here (adopted, imported, of an earlier baseline) rest on somebody's word or on a
comparison, and give way to a later word. What has run here stays. A word that changes no row is about the files
that are left: they are to run, and no fence holds them.
"""

from __future__ import annotations

from collections.abc import Sequence

from migrator.adoption.adoption import BASELINE, Adoption
from migrator.context import RunContext
from migrator.database import Connection
from migrator.files import REPEATABLE, Folder
from migrator.history import NONE, History
from migrator.planning import Inspection, Pending, match, up_to

_EVIDENCE = "baselined, not verified"


def baseline(context: RunContext, folder: Folder, connection: Connection, inspection: Inspection) -> Adoption | None:
    """Return what the request names as applied, and the rows that it forgets; None where all is recorded already.

    Raises UnknownTarget.
    """
    target = context.request.target
    history = History(connection)
    known = history.not_run_here() if inspection.history.exists else []
    items = _numbered(folder, inspection)
    wanted = [] if target == NONE else up_to(target, items)
    names = {item.migration.name for item in wanted}
    unknown = {item.migration.name for item in inspection.plan.pending if not item.resumed}
    unknown |= {row.name for row in inspection.imported}
    here = {file.name for file in (*folder.files, *folder.repeatable)}
    beyond = here - names if target == NONE else {item.migration.name for item in items} - names
    rows = tuple((item.row, _EVIDENCE) for item in wanted if item.migration.name in unknown)
    forgotten = tuple(name for name in known if name in beyond)
    nothing_said = target == NONE and not inspection.history.applied and not inspection.history.none_applied
    fenced = inspection.history.exists and history.read_fence() is not None
    return Adoption(BASELINE, rows, forgotten, target) if rows or forgotten or nothing_said or fenced else None


def _numbered(folder: Folder, inspection: Inspection) -> Sequence[Pending]:
    """Return all numbered files, those that are applied and those that are not, in their order."""
    rows = match(folder.files, inspection.applied).rows
    applied = [Pending(file, rows[file.name].number) for file in folder.files if file.name in rows]
    pending = [item for item in inspection.plan.pending if not item.migration.name.startswith(REPEATABLE)]
    others = [item for item in pending if item.migration.name not in rows]
    return sorted((*applied, *others), key=lambda item: item.order)
