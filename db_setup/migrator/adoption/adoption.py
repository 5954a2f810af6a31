"""Adoption: finding out which files are applied to a database that has tables and no history of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from migrator.adoption import search
from migrator.adoption.other_tools import REVISION, Known, Tool, ToolRow, adopted_by_tool, read_histories
from migrator.context import RunContext
from migrator.database.connection import Connection
from migrator.database.server_errors import lock_lost
from migrator.drift.diff import in_words, truncated
from migrator.errors import ContradictoryEvidence, NothingProven, ServerError
from migrator.files import REPEATABLE, Migration
from migrator.formatting import listed
from migrator.history import integrity, legacy, runs
from migrator.history.rows import AppliedMigration
from migrator.planning.inspection import Inspection
from migrator.planning.plan import UNTRACKED, Pending, up_to

ADOPTED, BASELINE, IMPORTED = "adopted", "baseline", "imported"
NONE = "none"
"""The target of a baseline that says that no file is applied."""

_WAYS_OUT = (
    "adopt shows all differences; write a file that makes them, or change the database, so that it is what some of the "
    'files build; or record what you know: baseline --target N ("none": run all files)'
)
_UNSEEN = "it changes no object, so whether it is applied does not show, and it is taken as applied"
_BY_WORD = "said by the user, and not compared with the database"


class Adoption(NamedTuple):
    """What is known to be applied, with how it is known, and the word for it in the history.

    ``details`` are for the answer. ``refusal`` is why nothing may be recorded, and nothing run.
    """

    mode: str
    rows: tuple[tuple[AppliedMigration, str], ...] = ()
    details: Mapping[str, Any] = {}
    refusal: NothingProven | None = None

    def body(self) -> dict[str, Any]:
        """Return the fields that an answer tells of it."""
        lines = [{"number": row.number, "name": row.name, "evidence": text} for row, text in self.rows]
        return {"adopted_migrations": lines, **self.details}


def adoptable(inspection: Inspection) -> bool:
    """Tell whether a database has tables, files that may be applied, and no history of ours."""
    return bool(inspection.imported) or (inspection.plan.state == UNTRACKED and bool(inspection.plan.pending))


def baseline(context: RunContext, inspection: Inspection) -> Adoption:
    """Return what the user says, without a look at the database; raises UnknownTarget."""
    if inspection.imported:
        return imported(inspection)
    items = [] if context.request.target == NONE else up_to(context.request.target, numbered(inspection.plan.pending))
    return Adoption(BASELINE, _rows(Known(item, _BY_WORD) for item in items))


def imported(inspection: Inspection) -> Adoption:
    """Return what the table of the first generation says."""
    return Adoption(IMPORTED, tuple((row, legacy.EVIDENCE) for row in inspection.imported))


def find(context: RunContext, connection: Connection, inspection: Inspection) -> Adoption:
    """Return what the history of another tool proves, or else what a scratch database does.

    Raises ContradictoryEvidence, and ScratchRefused where the server lets no scratch database be made.
    """
    if inspection.imported:
        return imported(inspection)
    histories = read_histories(connection)
    speaking = [tool for tool, rows in histories if rows[0].says != REVISION]
    if len(speaking) > 1:
        names = " and ".join(f"{tool.table} ({tool.name})" for tool in speaking)
        raise ContradictoryEvidence(
            f"several tools have a history here: {names}", fix="drop the table that is out of use, and run again"
        )
    for tool, rows in histories:
        if known := _of_tool(context, tool, rows, numbered(inspection.plan.pending)):
            return Adoption(ADOPTED, _rows(known))
    return _by_building(context, connection, inspection.plan.pending)


def _of_tool(context: RunContext, tool: Tool, rows: Sequence[ToolRow], items: Sequence[Pending]) -> list[Known]:
    if rows[0].says != REVISION:
        return adopted_by_tool(tool, rows, items, _read_file)
    if not context.request.target or context.request.action != "adopt":
        return []  # a revision of Alembic's means nothing here until somebody says which file it is
    word = f"{tool.table} of {tool.name}: {', '.join(row.version for row in rows)}, by the user's word"
    return [Known(item, f"{word} {context.request.target}") for item in up_to(context.request.target, items)]


def numbered(items: Sequence[Pending]) -> list[Pending]:
    """Leave out the repeatable files: no other tool knows ours, and where nothing is known they simply run again."""
    return [item for item in items if not item.migration.name.startswith(REPEATABLE)]


def _read_file(file: Migration) -> bytes:
    with open(file.path, "rb") as text:
        return text.read()


def _by_building(context: RunContext, connection: Connection, items: Sequence[Pending]) -> Adoption:
    found = search.search(context, connection, items)
    last = items[found.applied - 1].migration.name if found.applied else ""
    proven = f"the database is what the files up to {last} build"
    unseen = {item.migration.name for item in items[found.applied - found.unseen : found.applied]}
    known = (
        Known(item, f"{proven}; {_UNSEEN}" if item.migration.name in unseen else proven)
        for item in items[: found.applied]
    )
    if unseen:
        context.warnings.append(f"{listed(sorted(unseen))}: {_UNSEEN}; look whether the data is there")
    details = {
        "not_compared": list(found.not_compared),
        "not_verifiable": list(found.not_verifiable),
        "differences": [item.as_json() for item in truncated(found.differences)],
        "difference_count": len(found.differences),
    }
    nearest = f"up to {items[found.nearest - 1].migration.name}" if found.nearest else "before the first"
    refusal = None if found.applied or found.unrelated else _refusal(found, nearest)
    return Adoption(ADOPTED, _rows(known), details, refusal)


def _refusal(found: search.SearchResult, nearest: str) -> NothingProven:
    failed = f"; {found.failed}" if found.failed else ""
    return NothingProven(
        "the database has tables and no history, and it is not what these files build, up to whichever of them; "
        f"closest is {nearest}: {in_words(found.differences)}{failed}",
        fix=_WAYS_OUT,
        applied="nothing was run, nothing was recorded",
    )


def _rows(known: Iterable[Known]) -> tuple[tuple[AppliedMigration, str], ...]:
    return tuple(
        (AppliedMigration(item.migration.name, item.number, item.migration.checksum, "applied"), text)
        for item, text in known
    )


def record(context: RunContext, connection: Connection, finding: Adoption) -> None:
    """Write a finding into the history, in one transaction with the history itself: it is there whole, or not at all.

    Else a run killed on the way would leave an empty history, which says that nothing is applied.
    """
    try:
        connection.run("BEGIN")
        runs.create(connection)
        integrity.refuse_changes(connection)
        run_id = runs.begin_run(connection, finding.mode, context.request_id)
        runs.record_known(connection, finding.rows, finding.mode, run_id)
        integrity.end_run(connection, run_id, "succeeded", "", {})
        connection.run("COMMIT")
    except ServerError as error:
        if runs.lock_was_lost(error):
            raise lock_lost("the adoption") from error
        raise
    finally:
        connection.rollback()
    connection.take_notices()
